// Whether segments are what a sealed output was merged from. Of a lake that lost its
// catalog nothing else says whose rows a segment holds: its own header does, which
// anybody can write, and the output, whose digest was sealed, has the same rows and
// codes in the same lists.

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
  ///   - checkpoint: Called once a list; what it throws ends the comparison.
  /// - Returns: For each input whether it does, and whether its own digests hold.
  /// - Throws: ``TarnError`` when the output cannot be read; what `checkpoint` throws.
  package static func proved(
    _ inputs: [MergeInput], by output: OutputShardFile, checkpoint: () throws -> Void = {}
  ) throws -> [Bool] {
    let trained = output.trained
    let width = trained.quantizer.codeByteCount
    var holds = inputs.map { input in
      let description = input.segment.description
      return description.codec == trained.quantizer.codec && description.dimension == trained.dimension
        && description.nlist == trained.nlist
    }
    for list in 0..<trained.nlist where holds.contains(true) {
      try checkpoint()
      // Rows of the list that each segment has shown so far.
      var shown = [Int](repeating: 0, count: inputs.count)
      for first in stride(from: 0, to: output.size(ofList: list), by: pieceRowCount) {
        let piece = first..<min(first + pieceRowCount, output.size(ofList: list))
        let (codes, ids) = try output.contents(ofList: list, rows: piece)
        var place = 0
        for (number, input) in inputs.enumerated() {
          while place < ids.count, ids[place] < input.ids.lowerBound { place += 1 }
          let start = place
          while place < ids.count, ids[place] < input.ids.upperBound { place += 1 }
          guard holds[number], start < place else { continue }
          holds[number] = isSame(
            input, list, shown[number], ids[start..<place], codes[(start * width)..<(place * width)])
          shown[number] += place - start
        }
      }
      for (number, input) in inputs.enumerated() where shown[number] != input.segment.size(ofList: list) {
        holds[number] = false
      }
    }
    return zip(inputs, holds).map { input, isSame in isSame && (try? input.segment.verify()) != nil }
  }

  /// Whether the next rows of a segment's list are these.
  private static func isSame(
    _ input: MergeInput, _ list: Int, _ shown: Int, _ ids: ArraySlice<Int64>, _ codes: ArraySlice<UInt8>
  ) -> Bool {
    let segment = input.segment
    guard shown + ids.count <= segment.size(ofList: list) else { return false }
    let first = segment.rows(ofLists: list..<(list + 1)).lowerBound + shown
    let stored = first..<(first + ids.count)
    var rows = [UInt32](repeating: 0, count: ids.count)
    var own = [UInt8](repeating: 0, count: codes.count)
    do {
      try unsafe rows.withUnsafeMutableBufferPointer { try unsafe segment.readRows(stored, into: $0) }
      try unsafe own.withUnsafeMutableBytes { try unsafe segment.readCodes(stored, into: $0) }
    } catch {
      return false
    }
    return zip(ids, rows).allSatisfy { $0 - input.firstRowID == Int64($1) } && codes.elementsEqual(own)
  }
}
