// Whether segments are what a sealed output was merged from. Of a lake that lost its
// catalog nothing else says whose rows a segment holds: its own header does, which
// anybody can write, and the output, whose digest was sealed, has the same rows and
// codes in the same lists, but for those that it was made without.

internal import Base

/// Holds segments against the output shard that is said to have been merged from them.
package enum SegmentProof {
  /// Rows of a list that are compared at a time.
  private static let pieceRowCount = 1 << 14

  /// Which segments hold just the rows and codes that an output has in their ids.
  ///
  /// - Parameters:
  ///   - inputs: Segments in ascending order of their ids, which are disjoint; that each
  ///     has as many rows as its shard is the caller's to know.
  ///   - output: An output shard whose digest is known to be right.
  ///   - refine: The codes that refine it, with the id of the first, whose digest is known to be
  ///     right, too; nil where its trained index does not refine.
  ///   - checkpoint: Called once a list; what it throws ends the comparison.
  /// - Returns: For each input whether it does, and whether its own digests hold.
  /// - Throws: ``TarnError`` when the output, or a segment, cannot be read: that a disk fails says nothing of what
  ///   they hold; what `checkpoint` throws.
  package static func proved(
    _ inputs: [MergeInput], by output: OutputShardFile, refine: (file: RefineFile, firstID: Int64)? = nil,
    checkpoint: () throws -> Void = {}
  ) throws -> [Bool] {
    let trained = output.trained
    let width = trained.quantizer.codeByteCount
    var holds = inputs.map { input in
      let description = input.segment.description
      return description.codec == trained.quantizer.codec && description.dimension == trained.dimension
        && description.nlist == trained.nlist && description.refine == refine?.file.quantizer.codec
    }
    for list in 0..<trained.nlist where holds.contains(true) {
      try checkpoint()
      // Rows of the list that each segment has shown so far.
      var shown = [Int](repeating: 0, count: inputs.count)
      let kept = try inputs.enumerated().map { try holds[$0] ? keptPlaces($1, list) : [] }
      for first in stride(from: 0, to: output.size(ofList: list), by: pieceRowCount) {
        let piece = first..<min(first + pieceRowCount, output.size(ofList: list))
        let (codes, ids) = try output.contents(ofList: list, rows: piece)
        var place = 0
        for (number, input) in inputs.enumerated() {
          while place < ids.count, ids[place] < input.ids.lowerBound { place += 1 }
          let start = place
          while place < ids.count, ids[place] < input.ids.upperBound { place += 1 }
          guard holds[number], start < place else { continue }
          holds[number] = try isSame(
            input, kept[number].dropFirst(shown[number]), ids[start..<place],
            codes[(start * width)..<(place * width)])
          shown[number] += place - start
        }
      }
      for number in inputs.indices where holds[number] && shown[number] != kept[number].count {
        holds[number] = false
      }
    }
    return try zip(inputs, holds).map { input, isSame in
      guard isSame, try unlessDamaged({ try input.segment.verify() }) != nil else { return false }
      return try refine.map { try isRefined(input, by: $0.file, from: $0.firstID, checkpoint) } ?? true
    }
  }

  /// What is read of a segment; nil where that is damaged or gone, which disproves it.
  private static func unlessDamaged<Value>(_ read: () throws -> Value) throws -> Value? {
    do { return try read() } catch let error as TarnError where [.integrity, .inputsMissing].contains(error.code) {
      return nil
    }
  }

  /// Whether the codes that refine a segment's rows are those of a file, but for rows that this
  /// was made without.
  private static func isRefined(
    _ input: MergeInput, by file: RefineFile, from firstID: Int64, _ checkpoint: () throws -> Void
  ) throws -> Bool {
    let start = Int(input.firstRowID - firstID)
    guard start >= 0, start + input.segment.rowCount <= file.count else { return false }
    let width = file.quantizer.codeByteCount
    var isSame = true
    try unsafe input.segment.eachRefining(byteCount: pieceRowCount * width) { rows, codes in
      try checkpoint()
      guard isSame else { return }
      for row in rows where input.excluded.contains(UInt32(row)) {
        let place = (row - rows.lowerBound) * width
        unsafe UnsafeMutableRawBufferPointer(rebasing: codes[place..<(place + width)])
          .initializeMemory(as: UInt8.self, repeating: 0)
      }
      let stored = try file.codes(ofRows: (start + rows.lowerBound)..<(start + rows.upperBound))
      isSame = unsafe codes.elementsEqual(stored)
    }
    return isSame
  }

  /// Places in the segment of a list's rows, without those that the output was made
  /// without; none of a segment that is damaged.
  private static func keptPlaces(_ input: MergeInput, _ list: Int) throws -> [Int] {
    let stored = input.segment.rows(ofLists: list..<(list + 1))
    guard !input.excluded.isEmpty else { return Array(stored) }
    guard let rows = try unlessDamaged({ try Self.rows(input.segment, stored) }) else { return [] }
    return zip(stored, rows).compactMap { input.excluded.contains($1) ? nil : $0 }
  }

  private static func rows(_ segment: SegmentFile, _ places: Range<Int>) throws -> [UInt32] {
    var rows = [UInt32](repeating: 0, count: places.count)
    try unsafe rows.withUnsafeMutableBufferPointer { try unsafe segment.readRows(places, into: $0) }
    return rows
  }

  /// Whether the next rows of a segment's list are these.
  private static func isSame(
    _ input: MergeInput, _ places: ArraySlice<Int>, _ ids: ArraySlice<Int64>, _ codes: ArraySlice<UInt8>
  ) throws -> Bool {
    guard ids.count <= places.count, let first = places.first else { return false }
    let places = places.prefix(ids.count)
    let stored = first..<(places[places.endIndex - 1] + 1)
    let width = codes.count / ids.count
    var own = [UInt8](repeating: 0, count: stored.count * width)
    let found = try unlessDamaged { () -> [UInt32] in
      try unsafe own.withUnsafeMutableBytes { try unsafe input.segment.readCodes(stored, into: $0) }
      return try Self.rows(input.segment, stored)
    }
    guard let rows = found else { return false }
    return zip(zip(ids, places), 0...).allSatisfy { found, number in
      let (id, place) = found
      let at = place - first
      let code = codes[(codes.startIndex + number * width)..<(codes.startIndex + (number + 1) * width)]
      return id - input.firstRowID == Int64(rows[at]) && code.elementsEqual(own[(at * width)..<((at + 1) * width)])
    }
  }
}
