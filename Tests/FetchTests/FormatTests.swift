// Shards that are not .npy files: what their first bytes must say, and what is
// asked of formats that do not tell their length there.

import Base
import Features
import Fetch
import Foundation
import Synchronization
import Testing
import TestSupport

private func number(_ value: Int, _ width: Int = 4) -> [UInt8] { (0..<width).map { UInt8(value >> (8 * $0) & 255) } }

/// What the elements of a format are, where it has one type alone.
private func elementType(of format: FeatureFormat) -> ElementType {
  switch format {
  case .f16bin: .float16
  case .u8bin, .bvecs: .uint8
  case .i8bin: .int8
  case .npy, .npz, .fbin, .fvecs, .safetensors, .torch, .parquet: .float32
  }
}

/// Rows of 4 elements in one of the formats, float32 where it has several types.
private func makeFile(_ format: FeatureFormat, rows: Int) -> [UInt8] {
  let width = 4 * elementType(of: format).byteCount
  let body = Array(makeShard(rows: rows, descr: "<f4").suffix(rows * width))
  switch format {
  case .npy: return makeShard(rows: rows, descr: "<f4")
  case .npz: return FeatureFiles.npz([("emb", makeShard(rows: rows, descr: "<f4"))])
  case .parquet:
    let values = body.withUnsafeBytes { bytes in
      (0..<rows * 4).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
    return ParquetMaker.lists(values, dimension: 4).file()
  case .fbin, .f16bin, .u8bin, .i8bin: return number(rows) + number(4) + body
  case .fvecs, .bvecs: return (0..<rows).flatMap { number(4) + body[$0 * width..<($0 + 1) * width] }
  case .safetensors:
    let header = #"{"a":{"dtype":"F32","shape":[\#(rows),4],"data_offsets":[0,\#(rows * 16)]}}"#
    return number(header.utf8.count, 8) + Array(header.utf8) + body
  case .torch:
    var pickle = PickleMaker()
    (pickle.storage, pickle.count, pickle.shape, pickle.strides) = ("FloatStorage", rows * 4, [rows, 4], [4, 1])
    return FeatureFiles.torch(pickle.pickle(), data: body)
  }
}

@Suite struct FormatTests {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func request(_ format: FeatureFormat, _ url: String, dimension: Int = 4, size: Int? = nil) -> FetchRequest {
    let path = directory.path
    return FetchRequest(
      id: 1, mirrors: [FetchMirror(id: 1, url: url)], partPath: path + "/1.part",
      expectation: ShardExpectation(
        byteCount: size, dimension: dimension, elementType: elementType(of: format), format: format),
      finalPath: { "\(path)/1-\($0.prefix(16))" })
  }

  @Test(arguments: FeatureFormat.allCases) func fetchesAndContinuesEveryFormat(format: FeatureFormat) async throws {
    let file = makeFile(format, rows: 3_000)
    let server = try HostileServer { request in
      request.precedingCount == 0
        ? .answer(200, headers: ["ETag: \"1\""], body: Array(file[..<9_001]), framing: .length(file.count))
        : .file(file, for: request)
    }
    let run = await fetch([request(format, server.url("/a"))])
    let shard = try #require(run.shard())
    #expect(bytes(at: shard.path) == file && shard.rowCount == 3_000)
    #expect(server.requests.map(\.rangeStart) == [nil, 9_001])
  }

  @Test(arguments: FeatureFormat.allCases) func r11AnHTMLPageEndsAtItsFirstBytes(format: FeatureFormat) async throws {
    let page = Array("<!doctype html><html>sorry".utf8) + [UInt8](repeating: 0x20, count: 1 << 20)
    let server = try HostileServer { _ in .answer(200, body: page) }
    let run = await fetch([request(format, server.url("/a"))])
    #expect(run.failure()?.code == .integrity)
    #expect(run.failure()?.message.contains("HTML") == true)
    #expect(try directory.contents() == [])
  }

  @Test(arguments: [FeatureFormat.fbin, .fvecs, .safetensors])
  func r11AnotherDimensionEndsBeforeTheRows(format: FeatureFormat) async throws {
    let file = makeFile(format, rows: 100_000)
    let server = try HostileServer { .file(file, for: $0) }
    let run = await fetch([request(format, server.url("/a"), dimension: 5)])
    #expect(run.failure()?.message.contains("its rows have 4 elements where the source has 5") == true)
    #expect(try #require(run.attempts.first).receivedByteCount < file.count)
  }

  @Test(arguments: [FeatureFormat.fvecs, .torch, .npz, .parquet])
  func r8AFileWhoseLengthNobodySaysIsNotTaken(format: FeatureFormat) async throws {
    let file = makeFile(format, rows: 100)
    let server = try HostileServer { _ in .answer(200, body: file, framing: .untilClose) }
    let run = await fetch([request(format, server.url("/a"))])
    #expect(run.failure()?.code == .integrity)
    let known = await fetch([request(format, server.url("/a"), size: file.count)])
    #expect(known.shard()?.rowCount == 100)
  }

  @Test func r11AFileThatOnlyItsEndTellsIsReadBeforeItGetsItsName() async throws {
    let file = makeFile(.torch, rows: 100)
    // Whole by its length, and no archive at its end.
    let torn = file.dropLast(40) + [UInt8](repeating: 0, count: 40)
    for (bytes, dimension) in [(Array(torn), 4), (file, 5)] {
      let server = try HostileServer { .file(bytes, for: $0) }
      let run = await fetch([request(.torch, server.url("/a"), dimension: dimension)])
      #expect(run.failure()?.code == .integrity)
      #expect(try directory.contents() == [])
    }
  }

  /// The beginning of several tensors tells the file's length; the one that is read is looked into at the end.
  @Test func r11OneOfSeveralTensorsIsHeldAgainstItsSource() async throws {
    let header =
      #"{"a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},"b":{"dtype":"F32","shape":[3,4],"data_offsets":[24,72]}}"#
    let file = number(header.utf8.count, 8) + Array(header.utf8) + [UInt8](repeating: 1, count: 72)
    let server = try HostileServer { .file(file, for: $0) }
    let cases: [(array: String, says: String?)] = [
      ("b", nil), ("a", "its rows have 2 elements where the source has 4"), ("c", "no array 'c'"),
    ]
    for (array, says) in cases {
      let path = directory.path
      let run = await fetch([
        FetchRequest(
          id: 1, mirrors: [FetchMirror(id: 1, url: server.url("/a"))], partPath: path + "/1.part",
          expectation: ShardExpectation(dimension: 4, elementType: .float32, format: .safetensors, array: array),
          finalPath: { "\(path)/1-\($0.prefix(16))" })
      ])
      if let says {
        #expect(run.failure()?.message.contains(says) == true, "\(String(describing: run.failure()))")
      } else {
        #expect(run.shard()?.rowCount == 3)
      }
    }
  }

  @Test(arguments: [FeatureFormat.fvecs, .bvecs])
  func r11RowsThatSayAnotherDimensionAreSeenBeforeTheFileGetsItsName(format: FeatureFormat) async throws {
    var file = makeFile(format, rows: 100)
    file[file.count / 100 * 57] = 5
    let (bytes, url) = (file, "file://\(directory.path)/given")
    let server = try HostileServer { .file(bytes, for: $0) }
    let run = await fetch([request(format, server.url("/a"))])
    #expect(run.failure()?.code == .integrity)
    #expect(run.failure()?.message.contains("row 57 says it has 5 elements") == true, "\(String(describing: run))")
    #expect(try directory.contents() == [])
    try Data(file).write(to: URL(fileURLWithPath: directory.path + "/given"))
    let local = await fetch([request(format, url)])
    #expect(local.failure()?.message.contains("row 57") == true)
  }

  /// Heads that contradict themselves: 880 bytes that claim a million rows, and
  /// a shape that no matrix has.
  @Test(arguments: [
    #"{"a":{"dtype":"F32","shape":[1000000,4],"data_offsets":[0,800]}}"#,
    #"{"a":{"dtype":"F32","shape":[-5,4],"data_offsets":[0,800]}}"#,
    #"{"a":{"dtype":"F32","shape":[5,-4],"data_offsets":[0,800]}}"#,
    #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,800]}}"#,
  ])
  func r11AHeadThatContradictsItselfIsRefused(header: String) async throws {
    let file = number(header.utf8.count, 8) + Array(header.utf8) + [UInt8](repeating: 1, count: 800)
    let server = try HostileServer { .file(file, for: $0) }
    let run = await fetch([request(.safetensors, server.url("/a"))])
    #expect(run.failure()?.code == .integrity)
    #expect(try directory.contents() == [])
  }

  private static let sizes: [(format: FeatureFormat, size: Int, rows: Int?)] = [
    (.npy, 240, nil), (.npy, 128 + 97 * 16, nil), (.fbin, 120, 7), (.fbin, 240, nil), (.fvecs, 140, 7),
    (.fvecs, 112, nil), (.torch, 1_000, nil), (.safetensors, 1_000, nil), (.u8bin, 36, 7), (.bvecs, 56, 7),
  ]

  @Test func aSizeTellsTheRowsWhereItCan() {
    for (format, size, rows) in Self.sizes {
      #expect(
        format.rowCount(ofByteCount: size, dimension: 4, elementType: elementType(of: format)) == rows,
        "\(format) \(size)")
    }
  }

  @Test func damagedBeginningsAreRefusedAndNeverTrap() {
    var random = SplitMix64(seed: 5)
    for format in FeatureFormat.allCases {
      let file = makeFile(format, rows: 5)
      for _ in 0..<2_000 {
        var bytes = Array(file.prefix(Int.random(in: 0...file.count, using: &random)))
        for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
          bytes[Int.random(in: 0..<min(bytes.count, 120), using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        let size = Bool.random(using: &random) ? file.count : nil
        if case .head(let head) = FeatureHead.parse(bytes, of: format, byteCount: size) {
          #expect(head.fileByteCount >= 0 && head.rowCount ?? 0 >= 0)
        }
      }
    }
  }
}
