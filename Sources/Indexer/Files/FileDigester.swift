// The digests of a file that goes by in order: SHA-256 of the whole, and of
// each list in the one part of it that holds lists. Both are computed side by
// side, which costs little more than one of them (CSha256).

internal import Base

/// Where the lists of a file are, and how their digests begin.
struct ListSection: Sendable {
  /// Where each list ends, in bytes from the start of the section, `[nlist]`.
  let ends: [Int]
  /// Row numbers that precede a list's codes in its digest, though they stand
  /// elsewhere; as many as there are codes, or none.
  let rows: [UInt32]
  /// Bytes of one code, where there are row numbers.
  let codeByteCount: Int

  init(ends: [Int], rows: [UInt32] = [], codeByteCount: Int = 1) {
    self.ends = ends
    self.rows = rows
    self.codeByteCount = codeByteCount
  }

  /// Lists one after another without gaps, as output shards hold them.
  ///
  /// - Parameters:
  ///   - sizes: Rows of each list, `[nlist]`.
  ///   - entryByteCount: Bytes that a row takes.
  /// - Returns: The section.
  static func contiguous(listSizes sizes: [UInt64], entryByteCount: Int) -> ListSection {
    var end = 0
    return ListSection(
      ends: sizes.map { size in
        end += Int(size) * entryByteCount
        return end
      })
  }

  /// The bytes of one list.
  func range(ofList list: Int) -> Range<Int> { (list == 0 ? 0 : ends[list - 1])..<ends[list] }

  /// Where the row numbers of one list are among the bytes of ``rows``.
  func rowBytes(ofList list: Int) -> Range<Int> {
    let range = range(ofList: list)
    return (4 * range.lowerBound / codeByteCount)..<(4 * range.upperBound / codeByteCount)
  }
}

/// Hashes a file piece by piece.
///
/// `@unchecked Sendable`: used by one thread at a time; ``BufferRing`` hands it
/// from its producer to its hashing stage and back.
final class FileDigester: @unchecked Sendable {
  /// Lists that are hashed in one run at most.
  private static let groupCount = 256

  private var section: ListSection?
  private var sectionStart = Int.max
  private var byteCount = 0
  /// The list to which the next byte of the section belongs.
  private var list = 0
  private var digests = ListDigests()
  /// Place 0 is the whole file's, place 1 + i that of list `list + i`.
  private let hashes = Sha256Batch(count: 1 + groupCount)

  /// Says where the lists start and what they are, before their first byte.
  func expect(_ section: ListSection, at start: Int) {
    precondition(self.section == nil && start >= byteCount, "the lists have gone by")
    self.section = section
    sectionStart = start
  }

  /// Hashes the next bytes of the file.
  func add(_ bytes: UnsafeRawBufferPointer) {
    var position = 0
    while position < bytes.count {
      let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[position...])
      if let section, byteCount >= sectionStart, list < section.ends.count {
        position += unsafe addLists(rest, of: section)
      } else {
        let count = byteCount < sectionStart ? min(sectionStart - byteCount, rest.count) : rest.count
        unsafe hashes.set(0, UnsafeRawBufferPointer(rebasing: rest[..<count]), finishes: false)
        hashes.run(1)
        byteCount += count
        position += count
      }
    }
  }

  /// The digests of all lists, once their last byte was added; none without a
  /// section.
  func finishLists() -> ListDigests {
    // The last lists may be without a byte.
    while let section, list < section.ends.count {
      let before = list
      _ = unsafe addLists(noBytes, of: section)
      precondition(list > before, "the lists are not complete")
    }
    return digests
  }

  /// The digest of everything added; ends the digester.
  func finish() -> ContentDigest {
    unsafe hashes.set(0, noBytes, finishes: true)
    hashes.run(1)
    return unsafe ContentDigest(bytes: hashes.digest(0))
  }

  /// Hashes the front of `bytes`: the next lists, at most a group of them.
  ///
  /// - Parameters:
  ///   - bytes: What comes next in the file; it is in the section.
  ///   - section: The section.
  /// - Returns: How many bytes were taken; none only of none.
  private func addLists(_ bytes: UnsafeRawBufferPointer, of section: ListSection) -> Int {
    let position = byteCount - sectionStart
    var (count, taken, isLastOpen) = (0, 0, false)
    unsafe section.rows.withUnsafeBytes { rows in
      while count < Self.groupCount, list + count < section.ends.count, !isLastOpen {
        let range = section.range(ofList: list + count)
        let pieceEnd = min(range.upperBound - position, bytes.count)
        let piece = unsafe UnsafeRawBufferPointer(rebasing: bytes[taken..<pieceEnd])
        let end = position + taken + piece.count
        if unsafe piece.isEmpty, end < range.upperBound { break }
        isLastOpen = end < range.upperBound
        let isStart = position + taken == range.lowerBound
        let prefix = unsafe isStart && !rows.isEmpty ? section.rowBytes(ofList: list + count) : 0..<0
        unsafe hashes.set(1 + count, UnsafeRawBufferPointer(rebasing: rows[prefix]), piece, finishes: !isLastOpen)
        count += 1
        taken += piece.count
      }
      unsafe hashes.set(0, UnsafeRawBufferPointer(rebasing: bytes[..<taken]), finishes: false)
      hashes.run(1 + count)
    }
    let finished = isLastOpen ? count - 1 : count
    for place in 1..<(1 + finished) { unsafe digests.append(hashes.digest(place)) }
    // The list under way is the first of the next group.
    if isLastOpen { hashes.exchange(1, count) }
    list += finished
    byteCount += taken
    return taken
  }
}
