// What a version's files say, held against each other: every number, name and
// address of its document against the lock file, the specifications against what
// they determine, and the shards that are here against all of it.

internal import Base
internal import Foundation

extension VersionEvidence {
  /// More of anything than a lake has; keeps sums of strangers' numbers from overflowing.
  private static let most = 1 << 50

  private func fault(_ what: String) -> TarnError { TarnError(.integrity, "\(name): \(what)") }

  /// Holds the files of the version against each other.
  ///
  /// - Throws: ``TarnError`` naming the first thing that does not hold.
  func check() throws {
    try checkInputs()
    try checkOutputs()
    try checkTrained()
    try checkSources()
    let spec = VersionPlan.spec(
      trained: lock.trained.sha256, source: lock.source, array: lock.array, shards: lock.inputs.map(\.ordinal),
      shardsPerOutput: lock.shardsPerOutput, missing: lock.missing, badRows: lock.badRows,
      excluded: ExcludedRows.digest(lock.inputs.map { ($0.sha256, $0.excluded ?? []) }))
    guard document.spec == spec else { throw fault("its document has another specification than its lock file") }
    func array(of name: String?) -> String? { document.sources.first { $0.name == name }?.array }
    let trainedOn = (array(of: document.trained.images), array(of: document.trained.captions))
    guard array(of: document.source) == lock.array,
      trainedOn == (training.arrays?.images, training.arrays?.captions)
    else { throw fault("its document gives a source another array than its lock file or its training") }
  }

  private func checkInputs() throws {
    guard MissingPolicy(rawValue: lock.missing) != nil, BadRowsPolicy(rawValue: lock.badRows) != nil else {
      throw fault("it has a policy that this tarn does not know")
    }
    guard (1...Self.most).contains(lock.shardsPerOutput), !lock.inputs.isEmpty, lock.inputs.count <= 1 << 24,
      (1...lock.inputs.count).contains(lock.outputs.count)
    else { throw fault("its lock file has \(lock.inputs.count) inputs and \(lock.outputs.count) outputs") }
    var (ordinal, end) = (-1, 0)
    for (index, input) in lock.inputs.enumerated() {
      let isSound =
        input.ordinal > ordinal && input.ordinal <= Self.most && (0...Self.most).contains(input.rows)
        && input.firstId >= end && ForeignNumber.rowID.holds(Int(input.firstId))
        && (input.sha256 == nil) == (input.bytes == nil)
        && (1...Self.most).contains(input.bytes ?? 1) && input.output == index / lock.shardsPerOutput
        && input.output < lock.outputs.count
      guard isSound else { throw fault("its lock file contradicts itself at input \(index)") }
      (ordinal, end) = (input.ordinal, Int(input.firstId) + input.rows)
    }
    let stated = document.inputs.map { input in
      LockFile.Input(
        shard: input.shard, ordinal: input.ordinal, sha256: input.sha256, bytes: input.bytes, firstId: input.firstId,
        rows: input.rows, output: input.output, excluded: input.excluded)
    }
    guard stated == lock.inputs, document.shardsPerOutput == lock.shardsPerOutput, document.missing == lock.missing,
      document.badRows == lock.badRows
    else { throw fault("its document has other inputs than its lock file") }
  }

  private func checkOutputs() throws {
    // Once: for each output anew, a stranger's millions of both would take days.
    let byOutput = Dictionary(grouping: lock.inputs, by: \.output)
    for (index, output) in lock.outputs.enumerated() {
      let inputs = byOutput[index] ?? []
      let rows = inputs.reduce(0) { $0 + ($1.sha256 == nil ? 0 : $1.rows - ($1.excluded?.count ?? 0)) }
      let isSound =
        output.output == index && (1...Self.most).contains(output.bytes) && (0...rows).contains(output.rows)
        && output.firstId == inputs.first?.firstId
        && output.endId == inputs.last.map { $0.firstId + Int64($0.rows) }
      guard isSound else { throw fault("its lock file contradicts itself at output \(index)") }
    }
    let refines = lock.trained.refine != nil && !document.isAdopted
    let isSame =
      document.outputs.count == lock.outputs.count
      && zip(document.outputs, lock.outputs).allSatisfy {
        ($0.output, $0.sha256, $0.bytes, $0.rows) == ($1.output, $1.sha256, $1.bytes, $1.rows)
          && $0.listsSha256 == $1.listsSha256 && $0.refine == $1.refine
          && ($0.refine != nil) == refines && (1...Self.most).contains($0.refine?.bytes ?? 1)
      }
    guard isSame else { throw fault("its document has other outputs than its lock file") }
  }

  private func checkTrained() throws {
    let (stated, sealed) = (document.trained, lock.trained)
    let isSame =
      stated.nlist == sealed.nlist && stated.codec == sealed.codec && stated.method == sealed.method
      && stated.seed == sealed.seed && stated.iterations == sealed.iterations && stated.pairs == sealed.pairs
    let isSpecified =
      training.nlist == sealed.nlist && training.codec == sealed.codec && training.method == sealed.method
      && training.seed == sealed.seed && training.iterations == sealed.iterations
      && training.sample.pairs == sealed.pairs && training.router?.method == sealed.router
      && training.refine?.codec == sealed.refine
    guard isSame, isSpecified else { throw fault("its trained index is not the one that its lock file names") }
    let numbers = [sealed.nlist, sealed.iterations, sealed.pairs, training.router?.captions ?? 1]
    let shards = training.images + (training.captions ?? [])
    guard numbers.allSatisfy({ (1...Self.most).contains($0) }),
      shards.allSatisfy({ (0...Self.most).contains($0.rows) }), shards.count <= 1 << 24,
      (0...Self.most).contains(training.router?.epochs ?? 0)
    else { throw fault("its trained index has a number that none has") }
    guard (training.captions != nil) == (document.trained.captions != nil) else {
      throw fault("its document does not name the captions it was trained on")
    }
  }

  private func checkSources() throws {
    let named = Set(document.sources.map(\.name))
    guard named.count == document.sources.count else { throw fault("its document has a source twice") }
    let wanted = Set([document.source, document.trained.images] + [document.trained.captions].compactMap(\.self))
    guard named == wanted else { throw fault("its document has other sources than it was made from") }
    let rows = rowCounts
    for source in document.sources {
      do {
        try source.check(keeping: nil)
      } catch let error as TarnError {
        throw fault("its document: \(error.message)")
      }
      guard source.dimension == training.dimension else {
        throw fault("its document gives source \(source.name) another dimension than it was trained with")
      }
      // Files that were adopted hold codes of rows, or none.
      let rowByteCount =
        source.modality == Modality.index.rawValue
        ? 0 : source.dimension * (ElementType(rawValue: source.dtype)?.byteCount ?? 1)
      for shard in source.shards {
        for pinned in shard.pinned {
          // A file with arrays may have them compressed.
          guard let count = rows[pinned.sha256], count <= Self.most / max(rowByteCount, 1),
            source.array != nil || pinned.bytes >= count * rowByteCount
          else { throw fault("its document says of \(source.name)/\(shard.name) what no such file can be") }
        }
        guard shard.sha256 == nil || shard.bytes != nil else {
          throw fault("its document says of \(source.name)/\(shard.name) what no such file can be")
        }
      }
    }
    let trainedOn =
      [(document.trained.images, training.images)]
      + [document.trained.captions].compactMap(\.self).map { ($0, training.captions ?? []) }
    for (name, shards) in trainedOn {
      let held = Set(document.sources.first { $0.name == name }?.shards.compactMap(\.trainedDigest) ?? [])
      guard shards.allSatisfy({ held.contains($0.sha256) }) else {
        throw fault("its document does not name a shard it was trained on")
      }
    }
    let shards = document.sources.first { $0.name == document.source }?.shards ?? []
    for input in lock.inputs {
      let isBorneOut =
        input.ordinal < shards.count && shards[input.ordinal].name == input.shard
        && (input.sha256 == nil
          || shards[input.ordinal].sha256 == input.sha256 && shards[input.ordinal].bytes == input.bytes)
      guard isBorneOut else { throw fault("its document does not have shard \(input.shard.printable) where it was") }
    }
  }

  /// Holds what the document says of shards against those that are here.
  ///
  /// - Parameters:
  ///   - layout: The lake.
  ///   - rowCount: Gives the rows of a feature file; throws for one that is
  ///     malformed or of another dimension or element type.
  /// - Throws: ``TarnError`` when bytes with the digest that the document gives
  ///   are something else.
  func check(
    shardsIn layout: LakeLayout,
    rowCount: (_ path: String, _ array: String?, _ dimension: Int, _ elementType: ElementType) throws -> Int
  ) throws {
    let rows = rowCounts
    for source in document.sources {
      guard let type = ElementType(rawValue: source.dtype) else { continue }
      for (shard, digest) in source.shards.flatMap({ shard in shard.pinned.map { (shard, $0.sha256) } }) {
        let path = layout.path(
          LakeLayout.shardPath(source: source.filesOf ?? source.name, shard: shard.name, digest: digest), in: .shards)
        guard Disk.size(of: path) != nil, (try? rowCount(path, source.array, source.dimension, type)) != rows[digest]
        else {
          continue
        }
        // A damaged file says nothing.
        guard case .whole = FileEvidence(path, byteCount: nil, digest: digest) else { continue }
        throw fault("its document says of \(source.name)/\(shard.name) what the file is not")
      }
    }
  }
}
