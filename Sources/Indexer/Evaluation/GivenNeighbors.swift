// The neighbours of queries as a file has them: `.npy` of int64, one row a query, best first.

internal import Base
internal import Features

/// A file with the neighbours of each query.
package struct GivenNeighbors {
  private let ids: [RowID]
  private let queryCount: Int
  private let width: Int
  private let path: String

  /// Reads a file.
  ///
  /// - Parameter path: The file.
  /// - Throws: ``TarnError`` `.usage` for one that is no such array.
  package init(_ path: String) throws {
    self.path = path
    let file = try InputFile(path: path)
    var start = [UInt8](repeating: 0, count: min(file.byteCount, NpyHeader.maximumByteCount))
    try file.read(into: &start, at: 0, count: start.count)
    let (shape, offset) = try NpyHeader.shapeOfIntegers(start, of: path)
    (queryCount, width) = (shape[0], shape.dropFirst().first ?? 1)
    guard shape.count <= 2, width <= 1 << 20, queryCount <= 1 << 30,
      file.byteCount == offset + 8 * queryCount * width
    else {
      throw TarnError(
        .usage, "\(path) has \(file.byteCount) bytes, and its header says an array of \(shape)",
        hint: "write the neighbours with numpy.save, a row for each query")
    }
    var values = [RowID](repeating: 0, count: queryCount * width)
    try unsafe values.withUnsafeMutableBytes { try unsafe file.read(into: $0, at: offset) }
    ids = values
  }

  /// The first neighbours of a query, without the -1 that stand for none.
  fileprivate func first(_ count: Int, of query: Int) -> ArraySlice<RowID> {
    ids[(query * width)..<(query * width + min(count, width))].prefix { $0 != -1 }
  }

  /// Refuses neighbours of other questions.
  fileprivate func require(queryCount: Int, k: Int, below end: RowID, of name: String) throws {
    guard self.queryCount == queryCount, width >= k else {
      throw TarnError(
        .usage, "\(path) has \(width) neighbours of \(self.queryCount) queries; wanted are \(k) of \(queryCount)",
        hint: "write k neighbours of each query, or lower -k")
    }
    if let id = ids.first(where: { $0 < -1 || $0 >= end }) {
      throw TarnError(
        .usage, "\(path): \(id) is no row id of \(name)", hint: "its ids are below \(end); -1 stands for none")
    }
  }
}

extension ExactNeighbors {
  /// Takes neighbours over that somebody else found; their scores are their places alone.
  ///
  /// - Parameters:
  ///   - given: The neighbours.
  ///   - end: What ids must be below.
  ///   - name: What has these rows, for messages.
  /// - Throws: ``TarnError`` `.usage` for those of other queries or rows.
  package mutating func take(given: GivenNeighbors, below end: RowID, of name: String) throws {
    try given.require(queryCount: counts.count, k: k, below: end, of: name)
    for query in counts.indices {
      let found = given.first(k, of: query)
      ids.replaceSubrange((query * k)..<(query * k + found.count), with: found)
      for place in 0..<found.count { scores[query * k + place] = -Double(place) }
      counts[query] = UInt32(found.count)
    }
  }
}
