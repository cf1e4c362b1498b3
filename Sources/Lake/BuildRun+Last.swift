// What a build has of the last version of its name: the layout of its outputs where nobody says one, and a word where
// nothing of them can be shared.

internal import Base
package import Catalog

extension BuildOptions {
  /// Shards of an output of the first version of a name, unless somebody says otherwise.
  package static let shardsPerOutputAtFirst = 40

  /// The options with the layout of the last version of the name that was built from the source, where nobody said one:
  /// files of other shards could not be shared with it.
  ///
  /// - Parameter catalog: The lake.
  /// - Returns: The options.
  /// - Throws: ``TarnError`` where the catalog cannot be read.
  package func following(_ catalog: LakeCatalog) throws -> BuildOptions {
    guard !isLayoutSaid, let source = try? catalog.source(named: images),
      let last = try catalog.lastVersion(of: name, from: source)
    else { return self }
    var options = self
    options.shardsPerOutput = last.shardsPerOutput
    return options
  }
}

extension LakeCatalog {
  /// The last version of a name that was built here from a source and not given up; nil for none.
  fileprivate func lastVersion(of name: String, from source: Source) throws -> IndexVersion? {
    try versions().last {
      $0.name.name == name && $0.sourceID == source.id && $0.state != .abandoned && !isOfElsewhere($0)
    }
  }

  /// Whether a version was pulled: what others made is no word of this lake's, and without need nothing that is made
  /// here rests on it.
  func isOfElsewhere(_ version: IndexVersion) -> Bool {
    version.publishedName != nil || Disk.size(of: layout.originPath(version.name)) != nil
  }
}

extension BuildRun {
  /// Says of a version that is to be begun why it shares no file with the last one of its name.
  func tellOfOthers(_ record: TrainedIndexRecord, _ source: Source) throws {
    guard options.checksRoles, let last = try catalog.lastVersion(of: options.name, from: source) else { return }
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
