// What a build takes from the last version of its name: how many shards an output has, unless the user says; and warnings
// where the two can share no output file.

internal import Base
package import Catalog

extension BuildOptions {
  /// Shards in each output of a name's first version, unless the user says otherwise.
  package static let shardsPerOutputAtFirst = 40

  /// The options, with the shards per output of the name's last version from this source, unless the user said how many.
  ///
  /// Only outputs of the same shards can be shared between versions.
  ///
  /// - Parameter catalog: The lake.
  /// - Returns: The options.
  /// - Throws: ``TarnError`` where the catalog cannot be read.
  package func following(_ catalog: LakeCatalog) throws -> BuildOptions {
    guard !isLayoutGiven, let source = try? catalog.source(named: images),
      let last = try catalog.lastVersion(of: name, from: source)
    else { return self }
    var options = self
    options.shardsPerOutput = last.shardsPerOutput
    return options
  }
}

extension LakeCatalog {
  /// The last version of a name that was built here from a source and not abandoned; nil for none.
  ///
  /// Where rows of the source must go, one that was pulled counts, too: its outputs are taken less those rows, as they are
  /// laid out, and without the shards.
  fileprivate func lastVersion(of name: String, from source: Source) throws -> IndexVersion? {
    let takesOthers = try hasExclusions(source)
    return try versions().last {
      $0.name.name == name && $0.sourceID == source.id && $0.state != .abandoned
        && (takesOthers || !isOfElsewhere($0))
    }
  }

  /// Whether a version was pulled from another lake.
  ///
  /// What others made is not followed, and nothing that is made here rests on it without need.
  func isOfElsewhere(_ version: IndexVersion) -> Bool {
    version.publishedName != nil || Disk.size(of: layout.originPath(version.name)) != nil
  }
}

extension BuildRun {
  /// Warns where a new version has other ids than the last one of its name, or can share no output file with it.
  func tellOfOthers(_ record: TrainedIndexRecord, _ source: Source, _ inputs: [VersionPlan.Input]) throws {
    guard options.checksRoles, let last = try catalog.lastVersion(of: options.name, from: source) else { return }
    let firstIDs = Dictionary(inputs.map { ($0.shardID, $0.firstID) }, uniquingKeysWith: { first, _ in first })
    let moved = try catalog.inputs(of: last).filter { firstIDs[$0.shardID, default: $0.firstID] != $0.firstID }
    if let first = moved.first {
      warn(
        "the rows of \(moved.count.counted("shard")), \(first.shardName) first, have other ids than in \(last.name), as a "
          + "shard before has another number of rows now; ids that were noted elsewhere hold for \(last.name) alone")
    }
    let trained = try catalog.trainedIndex(id: last.trainedIndexID)
    if trained.digest != record.digest {
      warn(
        "\(last.name) is encoded against \(trained.name), this build against \(record.name): they share no file; "
          + "another name keeps them apart")
    } else if last.shardsPerOutput != options.shardsPerOutput {
      warn(
        "\(last.name) has \(last.shardsPerOutput.counted("shard")) per output, this build \(options.shardsPerOutput): "
          + "they share no file; `--shards-per-output \(last.shardsPerOutput)`, or none, keeps its layout")
    } else if last.badRowsPolicy != options.badRows {
      let (before, now) = (last.badRowsPolicy.rawValue, options.badRows.rawValue)
      warn("\(last.name) was built with --bad-rows \(before), this build with \(now): they share no file")
    }
  }
}
