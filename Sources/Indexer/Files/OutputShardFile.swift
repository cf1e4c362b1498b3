// An output shard as a file: reading it back, and what is known of it.

package import Catalog

/// What became of a written output shard.
package struct OutputShardSummary: Sendable, Equatable {
  /// SHA-256 of the file.
  package let digest: ContentDigest
  package let byteCount: Int
  /// Rows in the file's lists.
  package let rowCount: Int
  /// For each list the digest of its bytes in the file: codes, then ids.
  package let listDigests: ListDigests
}

/// An open output shard whose header has been verified.
///
/// Invariants, beside those of the format:
///   1. Within a list ids ascend.
///   2. Every id is in at most one list (not looked at when opening).
package final class OutputShardFile: Sendable {
  package let trained: TrainedIndex
  /// Rows of all lists.
  package let rowCount: Int
  let file: InputFile
  let listSizes: [UInt64]
  /// Where each list's codes start in the file, `[nlist + 1]`.
  let listOffsets: [Int]

  /// Opens an output shard; trusts nothing in it.
  ///
  /// - Parameter path: The file.
  /// - Throws: ``IndexerError`` `.inputsMissing` without a file, `.integrity`
  ///   when it is not a whole output shard of tarn's.
  package init(path: String) throws {
    file = try InputFile(path: path)
    let header = try FaissFile.readHeader(of: file, kind: "output shard")
    trained = header.trained
    rowCount = header.count
    listSizes = header.listSizes
    let entry = header.trained.quantizer.codeByteCount + 8
    var offsets = [header.dataOffset]
    offsets.reserveCapacity(listSizes.count + 1)
    for size in listSizes { offsets.append(offsets[offsets.count - 1] + Int(size) * entry) }
    listOffsets = offsets
  }

  /// Rows in one list.
  package func size(ofList list: Int) -> Int { Int(listSizes[list]) }

  /// The contents of one list.
  ///
  /// - Parameter list: Its number, `0..<nlist`.
  /// - Returns: Codes, `[size × codeByteCount]` bytes, and ids, `[size]`.
  /// - Throws: ``IndexerError`` `.io` or `.integrity` when reading fails.
  package func contents(ofList list: Int) throws -> (codes: [UInt8], ids: [Int64]) {
    let size = size(ofList: list)
    var codes = [UInt8](repeating: 0, count: size * trained.quantizer.codeByteCount)
    var ids = [Int64](repeating: 0, count: size)
    try file.read(into: &codes, at: listOffsets[list], count: codes.count)
    try unsafe ids.withUnsafeMutableBytes {
      try unsafe file.read(into: $0, at: listOffsets[list] + codes.count)
    }
    return (codes, ids)
  }

  /// Reads the whole file from the disk and describes what is there.
  ///
  /// - Parameter ranges: The id ranges that the ids must lie in, ascending and
  ///   disjoint; nil leaves that unchecked.
  /// - Returns: Digest, sizes and list digests of the bytes read.
  /// - Throws: ``IndexerError`` `.integrity` when ids of a list do not ascend
  ///   or lie outside the ranges.
  package func readBack(idsIn ranges: [Range<Int64>]? = nil) throws -> OutputShardSummary {
    file.forget(from: 0, count: file.byteCount)
    var whole = Sha256()
    var head = SequentialWindow(file, from: 0, to: listOffsets[0], byteCount: 1 << 20)
    try head.next(listOffsets[0]) { whole.update($0) }
    var body = SequentialWindow(file, from: listOffsets[0], to: file.byteCount, byteCount: 1 << 20)
    var digests = ListDigests()
    for list in 0..<trained.nlist {
      var hasher = Sha256()
      let size = size(ofList: list)
      try body.next(size * trained.quantizer.codeByteCount) {
        whole.update($0)
        hasher.update($0)
      }
      var ids = IDCheck(file.path, list: list, ranges: ranges)
      try body.next(8 * size) {
        whole.update($0)
        hasher.update($0)
        try ids.add($0)
      }
      digests.append(hasher)
    }
    return OutputShardSummary(
      digest: whole.finalize(), byteCount: file.byteCount, rowCount: rowCount, listDigests: digests)
  }

  /// Reads the file back and compares it with what was meant to be written.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - trained: The trained index it must carry.
  ///   - summary: What the writer said of it.
  ///   - ranges: The id ranges it covers, ascending and disjoint.
  /// - Throws: ``IndexerError`` `.integrity` naming the first difference.
  package static func verify(
    _ path: String, trained: TrainedIndex, summary: OutputShardSummary, idsIn ranges: [Range<Int64>]
  ) throws {
    let shard = try OutputShardFile(path: path)
    func differs(_ what: String) -> IndexerError {
      IndexerError(
        .integrity, "\(path), read back, \(what)",
        hint: "the disk does not keep what was written; check it, then build again")
    }
    guard shard.trained == trained else { throw differs("carries another trained index") }
    let found = try shard.readBack(idsIn: ranges)
    if let list = found.listDigests.firstDifference(from: summary.listDigests) {
      throw differs("differs in list \(list)")
    }
    guard found == summary else {
      throw differs("has SHA-256 \(found.digest.prefix(12)), written was \(summary.digest.prefix(12))")
    }
  }
}

/// Watches the ids of one list go by, whatever the cut of the pieces.
private struct IDCheck {
  private let path: String
  private let list: Int
  private let ranges: [Range<Int64>]?
  private var previous: Int64 = -1
  private var current = 0
  private var partial: UInt64 = 0
  private var partialByteCount = 0

  init(_ path: String, list: Int, ranges: [Range<Int64>]?) {
    self.path = path
    self.list = list
    self.ranges = ranges
  }

  mutating func add(_ bytes: RawSpan) throws {
    var position = 0
    while position < bytes.byteCount {
      if partialByteCount == 0, position + 8 <= bytes.byteCount {
        let value = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self)
        try check(Int64(bitPattern: UInt64(littleEndian: value)))
        position += 8
        continue
      }
      let byte = unsafe bytes.unsafeLoad(fromByteOffset: position, as: UInt8.self)
      partial |= UInt64(byte) << UInt64(8 * partialByteCount)
      partialByteCount += 1
      position += 1
      if partialByteCount == 8 {
        try check(Int64(bitPattern: partial))
        partial = 0
        partialByteCount = 0
      }
    }
  }

  private mutating func check(_ id: Int64) throws {
    guard id > previous else {
      throw IndexerError(.integrity, "\(path) is damaged in list \(list): id \(id) follows id \(previous)")
    }
    previous = id
    guard let ranges else { return }
    while current < ranges.count, id >= ranges[current].upperBound { current += 1 }
    guard current < ranges.count, ranges[current].contains(id) else {
      throw IndexerError(.integrity, "\(path) is damaged in list \(list): id \(id) is of none of its shards")
    }
  }
}
