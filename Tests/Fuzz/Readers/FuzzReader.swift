// Everything of tarn's that reads bytes somebody else may have written, each
// behind one function: whatever the bytes, an answer or an error of tarn's.

internal import Base
internal import CUnpack
internal import Catalog
internal import Companions
internal import Features
internal import Fetch
internal import Foundation
internal import Indexer
internal import Parquet
internal import TestSupport

/// A reader to be tried with any bytes.
package enum FuzzReader: String, CaseIterable, Sendable {
  // Feature files.
  case npy, npz, pt, safetensors, fbin, fvecs, parquet
  // Companions' files, and a pack whose index is made right.
  case jsonl, csv, gz, zst, pack
  /// The pickle alone, in an archive whose checksums are right.
  case pickle
  // Files of a lake.
  case faiss, trained
  /// An index file read from end to end, as it is to be verified.
  case output
  /// A segment whose checksums are made right first.
  case segment
  /// A saved state of training behind its fingerprint, with a right checksum.
  case state
  // What people and servers say of shards and versions.
  case export, sizes, digests, tree, urls, head
  /// A page of a listing, behind a line that is its `Link` field.
  case listing
  // What workers, engines and whoever shares a directory of tasks leave in it.
  case plan, task, receipt, failure, jobs

  /// What a reader did that it must not do.
  package struct Violation: Error, CustomStringConvertible {
    package let description: String
  }

  /// Has the reader read bytes.
  ///
  /// - Parameters:
  ///   - bytes: Anything.
  ///   - directory: Where a file may be put.
  /// - Returns: Whether they were good.
  /// - Throws: ``Violation`` when they are refused in any way but with one line
  ///   that tells the file at fault.
  package func read(_ bytes: [UInt8], in directory: String) throws -> Bool {
    let path = directory + "/bytes." + fileExtension
    do {
      try write(prepared(bytes), to: path)
      try read(path, prepared: bytes)
      return true
    } catch let error as TarnError {
      let expected: [TarnError.Code] = [.badFeatures, .integrity, .usage, .schemaNewer]
      try check(error.message, isExpected: expected.contains(error.code), "\(error.code)")
    } catch is Refusal {
    }
    return false
  }

  /// Bytes that were refused by a reader that has no errors.
  private struct Refusal: Error {}

  private func check(_ message: String, isExpected: Bool, _ code: String) throws {
    guard isExpected else { throw Violation(description: "\(self) answers with \(code): \(message)") }
    guard !message.isEmpty, !message.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
    else { throw Violation(description: "\(self) answers with more than a line: \(message)") }
  }

  private var fileExtension: String {
    switch self {
    case .npy, .npz, .pt, .safetensors, .fbin, .fvecs, .parquet: rawValue
    case .pickle: "pt"
    case .jsonl, .csv: rawValue
    case .gz, .zst: "txt.\(rawValue)"
    default: "bin"
    }
  }

  func write(_ bytes: [UInt8], to path: String) throws {
    // In place: a new file each time is most of the work otherwise.
    guard let file = unsafe fopen(path, "w") else { throw Violation(description: "cannot write \(path)") }
    defer { unsafe fclose(file) }
    guard unsafe fwrite(bytes, 1, bytes.count, file) == bytes.count else {
      throw Violation(description: "cannot write \(path)")
    }
  }

  private func read(_ path: String, prepared bytes: [UInt8]) throws {
    switch self {
    case .npy:
      for count in [8, 10, 12, bytes.count / 2] { _ = NpyHeader.parse(Array(bytes.prefix(count))) }
      try readFeatures(path)
    case .npz, .pt, .pickle, .safetensors, .fbin, .fvecs: try readFeatures(path)
    case .jsonl, .csv, .gz, .zst:
      let file = try CompanionFile(path, named: path)
      _ = try file.rowCount()
      _ = try file.values(ofRows: [0, 1, 70], columns: file.columns())
    case .pack:
      let pack = try PackFile(path: path, of: FuzzSeeds.companion)
      try pack.check()
      _ = try pack.values(ofRows: [0, 1, 70], columns: pack.columns)
    case .parquet:
      let file = try ParquetFile(path: path)
      try ParquetTour.read(file)
      if file.columns.count(where: \.holdsFloatLists) == 1 { try readFeatures(path) }
    case .state: try FuzzState.load(path)
    case .faiss: try search(path)
    case .output: _ = try OutputShardFile(path: path).readBack(buffers: Self.buffers)
    case .trained: _ = try TrainedIndexFile.read(path)
    case .segment: try SegmentFile(path: path).verify(buffers: Self.buffers)
    case .export: _ = try VersionExport(reading: path).text()
    case .sizes: _ = try Manifest.sizes(path: path, of: Self.shards)
    case .digests: _ = try Manifest.digests(path: path, of: Self.shards)
    case .tree: _ = try HuggingFaceTree(path: path, of: Self.shards)
    case .urls:
      for line in try Manifest.lines(path: path) {
        try URLTemplate.validate(line)
        _ = try URLTemplate.fileName(of: line)
        _ = try URLTemplate(parsing: line).url(ordinal: 7)
        _ = line.withoutSecrets
      }
    case .head: try readHead(bytes)
    case .listing: try readListing(bytes)
    case .plan, .task, .receipt, .failure, .jobs: try readTasks(bytes, at: path)
    }
  }

  /// Reads a page as a Hub's and as a store's: what a course takes of it lies below the place.
  private func readListing(_ bytes: [UInt8]) throws {
    let end = bytes.firstIndex(of: 0x0A) ?? bytes.endIndex
    let link = String(decoding: bytes[..<end], as: UTF8.self)
    let body = Array(bytes[end...].dropFirst())
    let address = "https://host/api/datasets/org/set/tree/main/img?recursive=true"
    let pages = [
      Result { try ListingPage(tree: body, links: [link], at: address) },
      Result { try ListingPage(store: body, of: "s3://bucket/img/") },
    ]
    for case .success(let page) in pages {
      var course = ListingCourse(of: "it") { _ in true }
      do {
        try course.take(page.files, below: "img/", byteCount: body.count, next: page.next)
      } catch { continue }
      for file in course.files {
        guard file.path.hasPrefix("img/"), ListedFile.fault(ofPath: file.path) == nil else {
          throw Violation(description: "\(self) takes \(file.path.printable)")
        }
      }
    }
    if case .success = pages[1] { return }
    do {
      _ = try pages[0].get()
    } catch let error as TarnError where error.code == .refused {
      // A next page elsewhere: a server's wrong, and no file's.
      throw Refusal()
    }
  }

  /// The shards that manifests may speak of.
  private static let shards: ShardPlaces = {
    let names = ["0.npy", "1.npy", "img_emb_0002.npy"]
    return ShardPlaces(names: names, urls: names.map { ["https://host/images/\($0)"] })
  }()

  /// Small, so that pieces are cut in odd places.
  private static let buffers = BufferPlan(byteCount: 61, count: 3, batchByteCount: 64)

  /// Reads a file as who fetches it does and as who opens it does: they agree.
  private func readFeatures(_ path: String) throws {
    let format = FeatureFormat(ofFile: path)
    let bytes = try Array(Data(contentsOf: URL(fileURLWithPath: path)))
    for byteCount in [nil, bytes.count, Int.max] {
      for count in [8, bytes.count / 2] {
        _ = FeatureHead.parse(Array(bytes.prefix(count)), of: format, byteCount: byteCount)
      }
      _ = FeatureHead.parse(bytes, of: format, byteCount: byteCount)
    }
    let file = try FeatureFile(path)
    guard case .head(let head) = FeatureHead.parse(bytes, of: format, byteCount: bytes.count),
      head.fileByteCount == bytes.count, (head.rowCount ?? file.rowCount) == file.rowCount
    else { throw Violation(description: "\(self): a file is opened that would not be fetched") }
    _ = file.matrix.firstBadRow()
    _ = file.matrix.floats(rows: 0..<min(file.rowCount, 10))
  }

  private func search(_ path: String) throws {
    let searcher = try VersionSearcher(outputShards: [path])
    let query = (0..<searcher.dimension).map { Float($0 % 7) / 7 - 0.4 }
    let found = try searcher.search(query + query.reversed(), k: 5, nprobe: 3)
    for row in 0..<2 {
      let neighbors = found.neighbors(ofQuery: row)
      guard zip(neighbors, neighbors.dropFirst()).allSatisfy({ $0.score >= $1.score }) else {
        throw Violation(description: "neighbours out of order")
      }
    }
  }

  private func readHead(_ bytes: [UInt8]) throws {
    var reader = ResponseHeadReader()
    for line in bytes.split(separator: 0x0A, omittingEmptySubsequences: false) {
      guard case .head(let head) = reader.read(line + [0x0A]) else { continue }
      _ = (head.bodyLength, head.validator.ifRange, head.value("content-range").flatMap(ContentRange.init))
      var question = RangeQuestion()
      (question.offset, question.partialTotal, question.partialValidator) = (100, 1000, head.validator)
      let now = Date(timeIntervalSince1970: 1_700_000_000)
      _ = ResponseClassifier.classify(head, to: question, at: now)
      return
    }
    throw Refusal()
  }
}

// MARK: - Checksums made right

extension FuzzReader {
  /// The bytes as they are read: where a checksum stands before everything
  /// else, with a right one, so that what is behind it is tried.
  private func prepared(_ bytes: [UInt8]) throws -> [UInt8] {
    switch self {
    case .pickle: FuzzSeeds.archive(pickle: bytes)
    case .segment: Self.sealed(segment: bytes)
    case .pack: Self.sealed(pack: bytes)
    case .state: try FuzzState.sealed(bytes)
    default: bytes
    }
  }

  /// A pack with the checksums of its blocks and the digest of its index.
  private static func sealed(pack bytes: [UInt8]) -> [UInt8] {
    guard bytes.count >= 96 else { return bytes }
    var (file, end) = (bytes, bytes.count - 80)
    func number(_ place: Int, _ count: Int) -> Int {
      Int(clamping: (0..<count).reduce(UInt64(0)) { $0 | UInt64(file[place + $1]) << UInt64(8 * $1) })
    }
    let (schema, blockCount) = (number(end, 8), number(end + 16, 8))
    guard (16...end).contains(schema), blockCount <= (end - schema) / 32 else { return file }
    for entry in stride(from: end - 32 * blockCount, to: end, by: 32) {
      let (offset, count) = (number(entry, 8), number(entry + 16, 4))
      guard offset <= schema, count <= schema - offset else { continue }
      let sum = unsafe file[offset..<(offset + count)].withUnsafeBytes { unsafe cunpack_crc32($0.baseAddress, count) }
      for place in 0..<4 { file[entry + 28 + place] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * place)) }
    }
    let digest = ContentDigest.of(file[schema..<(end + 40)] + Array(FuzzSeeds.companion.hex.utf8))
    end += 40
    file.replaceSubrange(end..<(end + 32), with: digest.bytes)
    return file
  }

  /// A segment with the checksums of its header and its trailer.
  private static func sealed(segment bytes: [UInt8]) -> [UInt8] {
    let (checked, headerCount, digestCount, trailerCount) = (160, 192, 16, 32)
    guard bytes.count >= headerCount + 8 + trailerCount else { return bytes }
    var file = bytes
    file.replaceSubrange(checked..<headerCount, with: ContentDigest.of(file[..<checked]).bytes)
    let nlist = (0..<8).reduce(UInt64(0)) { $0 | UInt64(file[24 + $1]) << UInt64(8 * $1) }
    guard nlist < 1 << 20 else { return file }
    let offsetsEnd = headerCount + 8 * (Int(nlist) + 1)
    let digestsStart = file.count - trailerCount - digestCount * Int(nlist)
    guard offsetsEnd <= digestsStart else { return file }
    let end = file.count - trailerCount
    let digest = ContentDigest.of(file[..<offsetsEnd] + file[digestsStart..<end])
    file.replaceSubrange(end..., with: digest.bytes)
    return file
  }
}
