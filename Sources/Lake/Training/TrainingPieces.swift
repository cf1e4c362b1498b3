// The drawn rows of each shard, one file a shard, until those of every shard are
// there: so that a shard may leave the lake, and a killed run not ask for it again.
//
// A piece counts when the note beside it is there and its digest holds; the note is
// written last. Both are named by what they were made of, so no piece is mistaken
// for another training's.

internal import Base
internal import Catalog
internal import Features
internal import Foundation
internal import Indexer

/// The pieces of one trained index, by its name.
struct TrainingPieces: Sendable {
  /// The drawn rows of a shard, less those that are bad.
  struct Piece: Sendable {
    /// An `.npy` file; nil without rows.
    let path: String?
    /// The shard's bytes.
    let revision: ShardRevision
    /// Drawn rows that are NaN, infinite or zero, ascending.
    let badRows: [UInt32]
  }

  let directory: String
  let normalisation: Normalisation
  let badRows: BadRowsPolicy

  /// The piece of a shard, if it is there and whole.
  ///
  /// - Parameters:
  ///   - rows: The rows that were drawn.
  ///   - revision: The shard's bytes.
  ///   - array: The array of its file; nil for the only one.
  /// - Returns: The piece; nil where it has to be made, or may not be used as it is.
  func piece(_ rows: [UInt32], of revision: ShardRevision, _ array: String?) -> Piece? {
    guard !rows.isEmpty else { return Piece(path: nil, revision: revision, badRows: []) }
    let path = path(rows, of: revision, array)
    guard let note = Disk.text(of: path + ".json").flatMap({ JSONValue(parsing: $0) }), let bad = note["bad"],
      bad.elements.isEmpty || badRows == .skip
    else { return nil }
    let badRows = bad.elements.compactMap { $0.integer.flatMap { UInt32(exactly: $0) } }
    guard let digest = note["sha256"]?.string else {
      return badRows == rows ? Piece(path: nil, revision: revision, badRows: badRows) : nil
    }
    guard Disk.size(of: path) != nil, let found = try? Disk.digest(of: path), found.hex == digest else { return nil }
    return Piece(path: path, revision: revision, badRows: badRows)
  }

  /// Takes the drawn rows out of a shard, durably.
  ///
  /// - Parameters:
  ///   - rows: The rows that were drawn.
  ///   - file: The shard.
  ///   - revision: Its bytes.
  ///   - array: The array of its file; nil for the only one.
  /// - Returns: The piece.
  /// - Throws: ``TarnError`` `.badFeatures` for a bad row, unless those are left out,
  ///   and for one that is not of unit length; when the disk refuses.
  func make(
    _ rows: [UInt32], of file: FeatureFile, _ revision: ShardRevision, _ array: String?
  ) throws -> Piece {
    guard !rows.isEmpty else { return Piece(path: nil, revision: revision, badRows: []) }
    let bad = rows.filter { file.matrix.firstBadRow(in: Int($0)..<(Int($0) + 1)) != nil }
    if badRows == .fail, let first = bad.first, let row = file.matrix.firstBadRow(in: Int(first)..<(Int(first) + 1)) {
      throw file.unfit(row)
    }
    try Disk.makeDirectory(directory)
    let path = path(rows, of: revision, array)
    let good = Set(bad)
    let left = bad.isEmpty ? rows : rows.filter { !good.contains($0) }
    var note: [String: JSONValue] = ["bad": .array(bad.map { .count(Int($0)) })]
    if !left.isEmpty {
      var writer = try TrainingMatrixWriter(
        creating: path + ".tmp", elementType: file.elementType, rowCount: left.count, dimension: file.dimension,
        normalisation: normalisation)
      try writer.append(left, of: file)
      note["sha256"] = .string(try writer.finish(as: path).hex)
    }
    try Disk.writeAtomically(Array(JSONValue.object(note).text.utf8), to: path + ".json")
    return Piece(path: left.isEmpty ? nil : path, revision: revision, badRows: bad)
  }

  /// Removes them all.
  func remove() { try? FileManager.default.removeItem(atPath: directory) }

  private func path(_ rows: [UInt32], of revision: ShardRevision, _ array: String?) -> String {
    var hasher = Sha256()
    let what = array.map { "piece-2 \(revision.digest.hex) \($0)" } ?? "piece-1 \(revision.digest.hex)"
    unsafe hasher.update(Array("\(what) \(normalisation.rawValue)\n".utf8).span.bytes)
    unsafe hasher.update(rows.span.bytes)
    return "\(directory)/\(hasher.finalize().prefix(32)).npy"
  }
}

/// The rows that a training works on, pair by pair.
struct GatheredPairs: Sendable {
  let images: TrainingRun.Gathered
  /// Nil for a training that looks at images only.
  let captions: TrainingRun.Gathered?

  private static func path(_ scratch: String, _ side: TrainingPairs.Side) -> String {
    "\(scratch)/\(side.rawValue)s.npy"
  }

  /// Whether an earlier run wrote rows, whole or not.
  static func isBegun(in scratch: String, _ sides: [TrainingPairs.Side]) -> Bool {
    sides.allSatisfy { Disk.size(of: path(scratch, $0)) != nil }
  }

  /// Rows that an earlier run gathered, if they are there whole.
  ///
  /// - Parameters:
  ///   - scratch: Where the training keeps its steps.
  ///   - sides: Whose rows it needs.
  init?(in scratch: String, _ sides: [TrainingPairs.Side]) {
    var found: [TrainingRun.Gathered] = []
    for side in sides {
      let path = Self.path(scratch, side)
      guard let recorded = Disk.text(of: path + ".sha256"), Disk.size(of: path) != nil,
        let digest = try? Disk.digest(of: path), digest.hex == recorded, let file = try? FeatureFile(path)
      else { return nil }
      found.append(.init(path: path, matrix: file.matrix, digest: digest))
    }
    self.init(found)
  }

  private init(_ found: [TrainingRun.Gathered]) {
    images = found[0]
    captions = found.count > 1 ? found[1] : nil
  }

  /// Puts pieces together, durably.
  ///
  /// - Parameters:
  ///   - pieces: For each side its source and the pieces in order of the pairs.
  ///   - drawn: For each pair the rows that were drawn.
  ///   - leftOut: Those of them that are left out on both sides.
  ///   - normalisation: What was done about lengths.
  ///   - scratch: Where the training keeps its steps.
  ///   - checkpoint: Asked before each piece.
  /// - Throws: ``TarnError`` when the disk refuses; what `checkpoint` throws.
  init(
    _ pieces: [(side: TrainingPairs.Side, source: Source, pieces: [TrainingPieces.Piece])], drawn: [[UInt32]],
    leftOut: [[UInt32]], _ normalisation: Normalisation, in scratch: String, checkpoint: () throws -> Void
  ) throws {
    try Disk.makeDirectory(scratch)
    let count = zip(drawn, leftOut).reduce(0) { $0 + $1.0.count - $1.1.count }
    var found: [TrainingRun.Gathered] = []
    for (side, source, pieces) in pieces {
      let path = Self.path(scratch, side)
      // Pieces have the lengths that were asked for already.
      var writer = try TrainingMatrixWriter(
        creating: path + ".tmp", elementType: normalisation == .normalise ? .float32 : source.elementType.kept,
        rowCount: count, dimension: source.dimension)
      for (place, piece) in pieces.enumerated() {
        try checkpoint()
        guard let piecePath = piece.path else { continue }
        let (bad, out) = (Set(piece.badRows), Set(leftOut[place]))
        let held = drawn[place].filter { !bad.contains($0) }
        let rows = held.indices.filter { !out.contains(held[$0]) }.map { UInt32($0) }
        try writer.append(rows, of: FeatureFile(piecePath))
      }
      let digest = try writer.finish(as: path)
      try Disk.writeAtomically(Array(digest.hex.utf8), to: path + ".sha256")
      found.append(.init(path: path, matrix: try FeatureFile(path).matrix, digest: digest))
    }
    self.init(found)
  }
}
