// Which rows a search may find: a set of row ids, in memory that grows with the
// stretches of ids in use and not with how the set is told.

internal import CScan

/// A set of row ids.
///
/// Ids are kept as bits, in blocks of 65,536 that are made when one of theirs is set:
/// 8 KiB each, so never more than an eighth of a byte for each id of a version, and
/// little for a few.
package struct RowSubset: Sendable, Equatable {
  /// Bits of an id that are its place in its block.
  private static let blockBits: Int64 = 16
  private static let wordCount = 1 << (Int(blockBits) - 6)

  /// Where each block's words begin in `words`, by its number.
  private var blocks: [Int64: Int] = [:]
  private var words: [UInt64] = []
  /// Ids in the set.
  package private(set) var count = 0
  /// Whether the set is of the rows that are left out.
  package let isExcluding: Bool

  /// An empty set.
  ///
  /// - Parameter isExcluding: Whether its rows are left out; else they alone are found.
  package init(excluding isExcluding: Bool = false) { self.isExcluding = isExcluding }

  /// Adds an id.
  ///
  /// - Parameter id: A row id, not negative.
  /// - Returns: Whether it was not in the set.
  @discardableResult
  package mutating func insert(_ id: Int64) -> Bool {
    precondition(id >= 0, "row ids are not negative")
    let block = id >> Self.blockBits
    let start: Int
    if let known = blocks[block] {
      start = known
    } else {
      start = words.count
      blocks[block] = start
      words.append(contentsOf: repeatElement(0, count: Self.wordCount))
    }
    let (word, bit) = place(id, start)
    guard words[word] & bit == 0 else { return false }
    words[word] |= bit
    count += 1
    return true
  }

  /// Takes an id out, if it is in the set.
  package mutating func remove(_ id: Int64) {
    guard id >= 0, let start = blocks[id >> Self.blockBits] else { return }
    let (word, bit) = place(id, start)
    guard words[word] & bit != 0 else { return }
    words[word] &= ~bit
    count -= 1
  }

  /// Whether a row may be found: one that is in the set, or of those that are left out one that is not.
  package func allows(_ id: Int64) -> Bool { contains(id) != isExcluding }

  /// Bytes of memory that it takes, about.
  package var byteCount: Int { 8 * words.count + 48 * blocks.count }

  /// Whether an id is in the set.
  package func contains(_ id: Int64) -> Bool {
    guard id >= 0, let start = blocks[id >> Self.blockBits] else { return false }
    let (word, bit) = place(id, start)
    return words[word] & bit != 0
  }

  /// The ids in the set, ascending.
  package var ids: [Int64] {
    blocks.sorted { $0.key < $1.key }.flatMap { block, start in
      (0..<Int64(64 * Self.wordCount)).compactMap { low in
        words[start + Int(low >> 6)] & 1 << UInt64(low & 63) == 0 ? nil : block << Self.blockBits | low
      }
    }
  }

  private func place(_ id: Int64, _ start: Int) -> (word: Int, bit: UInt64) {
    let low = Int(id & ((1 << Self.blockBits) - 1))
    return (start + low >> 6, 1 << UInt64(low & 63))
  }

  /// The places of the rows that may be found among some of a list.
  ///
  /// - Parameters:
  ///   - ids: Their ids, int64 as they lie in a file, which ascend; so a block is looked
  ///     up once for all of its rows.
  ///   - count: How many.
  /// - Returns: The places, ascending.
  func places(in ids: UnsafePointer<UInt8>, count: Int) -> [UInt32] {
    var places: [UInt32] = []
    var block: Int64 = -1
    var start: Int?
    for row in 0..<count {
      let id = unsafe Int64(littleEndian: UnsafeRawPointer(ids).loadUnaligned(fromByteOffset: 8 * row, as: Int64.self))
      if id >> Self.blockBits != block {
        block = id >> Self.blockBits
        start = blocks[block]
      }
      guard let start else {
        if isExcluding { places.append(UInt32(row)) }
        continue
      }
      let (word, bit) = place(id, start)
      if (words[word] & bit != 0) != isExcluding { places.append(UInt32(row)) }
    }
    return places
  }

  /// Hands on those of some rows that may be found, if there are any.
  func choose(_ rows: cscan_rows, codeByteCount: Int, _ body: (inout cscan_rows) -> Void) {
    guard let ids = unsafe rows.ids, let codes = unsafe rows.codes else { return }
    let places = unsafe places(in: ids, count: rows.count)
    guard let first = places.first, let last = places.last else { return }
    var chosen = unsafe rows
    unsafe chosen.count = places.count
    if Int(last - first) + 1 == places.count {
      unsafe chosen.codes = codes + Int(first) * codeByteCount
      unsafe chosen.ids = ids + 8 * Int(first)
      return unsafe body(&chosen)
    }
    unsafe places.withUnsafeBufferPointer {
      unsafe chosen.places = $0.baseAddress
      unsafe body(&chosen)
    }
  }
}
