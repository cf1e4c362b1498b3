// What rows of an index stand for: their codes found by their ids, and decoded.

internal import Base
internal import Features

extension VersionSearcher {
  /// The vectors that rows' codes stand for.
  ///
  /// - Parameters:
  ///   - ids: Row ids, in any order.
  ///   - lists: The lists to look in; nil for all, which touches every list of the files.
  /// - Returns: For each id its vector, `dimension` elements; nil where no such list has it.
  package func vectors(ofRows ids: [RowID], in lists: Set<Int32>? = nil) -> [[Float]?] {
    let order = ids.indices.sorted { ids[$0] < ids[$1] }
    let wanted = order.map { ids[$0] }
    var found = [[Float]?](repeating: nil, count: ids.count)
    var left = ids.count
    for list in lists.map({ $0.sorted().map(Int.init) }) ?? Array(0..<nlist) {
      for shard in shards where left > 0 {
        let size = shard.size(ofList: list)
        guard size > 0 else { continue }
        // Within a list of an output ids ascend.
        let (first, last) = (shard.id(ofRow: 0, ofList: list), shard.id(ofRow: size - 1, ofList: list))
        var place = wanted.partitioningIndex { $0 >= first }
        var low = 0
        while place < wanted.count, wanted[place] <= last, low < size {
          let id = wanted[place]
          low = (low..<size).partitioningIndex { shard.id(ofRow: $0, ofList: list) >= id }
          if low < size, shard.id(ofRow: low, ofList: list) == id, found[order[place]] == nil {
            found[order[place]] = quantizer.decode(shard.codeBytes(ofRow: low, ofList: list))
            left -= 1
          }
          place += 1
        }
      }
    }
    return found
  }

  /// The vectors that the best codes of rows stand for: those that refine, where the version has such.
  ///
  /// - Parameter ids: Row ids, in any order.
  /// - Returns: For each id its vector; nil where no list has it.
  /// - Throws: ``TarnError`` `.integrity` for a row of a list without a code that refines.
  package func bestVectors(ofRows ids: [RowID]) throws -> [[Float]?] {
    let coded = vectors(ofRows: ids)
    guard let refine else { return coded }
    var refined = try refine.vectors(ofRows: zip(ids, coded).filter { $1 != nil }.map(\.0)).makeIterator()
    return coded.map { $0 == nil ? nil : refined.next() }
  }
}
