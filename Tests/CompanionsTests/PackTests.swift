// Packs: what is written is read, the same bytes every time, and no changed byte is believed.

import Base
import CUnpack
import Companions
import Foundation
import TestSupport
import Testing

private let digest = ContentDigest(bytes: [UInt8](repeating: 7, count: 32))

@Suite struct PackTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func pack(
    _ file: CompanionFile, columns: [String]? = nil, rowCount: Int? = nil, as name: String = "pack"
  ) throws -> (PackWriter.Summary, PackFile) {
    let path = "\(scratch.directory)/\(name)"
    let summary = try PackWriter.write(
      file, digest: digest, columns: columns, rowCount: rowCount, through: path + ".tmp", to: path)
    return (summary, try PackFile(path: path, of: digest))
  }

  /// Lines of JSON whose values follow from their row.
  private func table(_ count: Int) throws -> CompanionFile {
    var random = SplitMix64(seed: 7)
    let lines = (0..<count).map { row in
      row % 11 == 3
        ? "" : "{\"row\":\(row),\"text\":\"\(String(repeating: "word\(random.next() % 50) ", count: row % 40))\"}"
    }
    return try scratch.file("table.jsonl", lines.joined(separator: "\n") + "\n")
  }

  @Test func everyRowIsFound() throws {
    let file = try table(5000)
    let (summary, pack) = try pack(file)
    #expect(summary.rowCount == 5000 && pack.rowCount == 5000 && pack.columns == ["row", "text"])
    let rows = Array(0..<5000).shuffled()
    #expect(
      try pack.values(ofRows: rows, columns: ["text", "row"]) == file.values(ofRows: rows, columns: ["text", "row"]))
    #expect(try pack.values(ofRows: [-1, 5000, 4999], columns: ["row"]).map { $0 == nil } == [true, true, false])
    try pack.check()
    let error = try #require(failure { _ = try pack.values(ofRows: [1], columns: ["caption"]) })
    #expect(error.code == .usage && error.description.contains("row, text"), "\(error)")
    #expect(
      failure { _ = try PackFile(path: pack.path, of: ContentDigest(bytes: [UInt8](repeating: 8, count: 32))) }?.code
        == .integrity)
  }

  @Test func theSameRowsAreTheSameBytes() throws {
    let file = try table(3000)
    let first = try pack(file, as: "a").0
    #expect(try pack(file, as: "b").0.digest == first.digest)
    // Pinned: another pack of the same bytes is another format, and has another version.
    let text = try scratch.file(
      "pinned.csv", "url,caption\n" + (0..<500).map { "u\($0),\"caption \($0 % 7)\"\n" }.joined())
    let pinned = try pack(text, as: "c").0.digest.hex
    #expect(pinned == "2329b7a2df111090a620a59cde9e5c5c23d81633a18da71143bc3afcc990624a")
  }

  /// A key that is rounded is another one's; packs in which it was are told from others by their version.
  @Test func wholeNumbersOfAnySizeAreKept() throws {
    let keys = ["12345678901234567890", "-9223372036854775809", "9223372036854775807", "-9223372036854775808", "1e30"]
    let file = try scratch.file("keys.jsonl", keys.map { "{\"key\":\($0)}\n" }.joined())
    let pack = try pack(file).1
    #expect(
      try pack.values(ofRows: Array(0..<5), columns: ["key"]).map { $0?[0] } == [
        .string(keys[0]), .string(keys[1]), .integer(.max), .integer(.min), .number(1e30),
      ])
    func version(_ path: String) throws -> UInt8 { try Data(contentsOf: URL(fileURLWithPath: path))[8] }
    #expect(try version(pack.path) == 2 && PackWriter.formatVersion(ofFile: "a.jsonl.gz") == 2)
    let other = try self.pack(scratch.file("a.csv", "a\n1\n"), as: "other").1
    #expect(try version(other.path) == 1 && PackWriter.formatVersion(ofFile: "a.parquet") == 1)
  }

  @Test func columnsThatWereNotAskedForAreLeftAway() throws {
    let file = try scratch.file("a.csv", "a,b,c\n1,2,3\n4,,6\n")
    let (summary, pack) = try pack(file, columns: ["c", "a"])
    #expect(summary.columns == ["a", "c"] && pack.columns == ["a", "c"])
    #expect(
      try pack.values(ofRows: [1, 0], columns: ["c", "a"]) == [
        [.string("6"), .string("4")], [.string("3"), .string("1")],
      ])
    #expect(failure { _ = try pack.values(ofRows: [0], columns: ["b"]) }?.code == .usage)
    let error = try #require(failure { _ = try self.pack(file, columns: ["d"], as: "none") })
    #expect(error.code == .usage && Disk.size(of: "\(scratch.directory)/none") == nil, "\(error)")
    #expect(Disk.size(of: "\(scratch.directory)/none.tmp") == nil)
  }

  @Test func nestedColumnsAreLeftOutAndTold() throws {
    let (summary, pack) = try pack(scratch.file("a.parquet", parquetFixture("lists")))
    #expect(summary.leftOut.contains { $0.name == "tags" && $0.cause == "a list" }, "\(summary.leftOut)")
    let error = try #require(failure { _ = try pack.values(ofRows: [0], columns: ["tags"]) })
    #expect(error.code == .badFeatures && error.message.contains("a list"))
  }

  @Test func parquetIsPackedAsItIsRead() throws {
    for name in ["plain", "dictionary", "pages", "delta"] {
      let file = try scratch.file("\(name).parquet", parquetFixture(name))
      let pack = try pack(file, as: name).1
      #expect(
        try pack.values(ofRows: Array(0..<20), columns: pack.columns)
          == file.values(ofRows: Array(0..<20), columns: pack.columns), "\(name)")
    }
  }

  @Test func anotherNumberOfRowsIsNoPack() throws {
    let file = try scratch.file("a.txt", "a\nb\n")
    let error = try #require(failure { _ = try pack(file, rowCount: 3) })
    #expect(error.code == .integrity && error.message.contains("has 2 rows, the catalog counts 3"))
  }

  @Test func emptyAndOneRowArePacks() throws {
    #expect(try pack(scratch.file("a.csv", "a,b\n"), as: "empty").1.rowCount == 0)
    let one = try pack(scratch.file("a.txt", String(repeating: "x", count: 1 << 20)), as: "one").1
    #expect(try one.values(ofRows: [0], columns: ["text"])[0]?[0] == .string(String(repeating: "x", count: 1 << 20)))
  }

  @Test func noChangedByteIsBelieved() throws {
    let file = try scratch.file("a.csv", "a,b\n" + (0..<40).map { "u\($0),caption \($0 % 5)\n" }.joined())
    let pack = try pack(file).1
    let good = Array(try Data(contentsOf: URL(fileURLWithPath: pack.path)))
    let expected = try pack.values(ofRows: Array(0..<40), columns: ["a", "b"])
    let path = "\(scratch.directory)/changed"
    for place in good.indices {
      var bytes = good
      bytes[place] ^= 1 << UInt8(place % 8)
      try Disk.writeAtomically(bytes, to: path)
      let found = try? PackFile(path: path, of: digest).values(ofRows: Array(0..<40), columns: ["a", "b"])
      // Four bytes of the head say nothing.
      #expect(found == nil || (12..<16).contains(place) && found == expected, "byte \(place)")
    }
    for count in good.indices {
      try Disk.writeAtomically(good[..<count], to: path)
      #expect(failure { _ = try PackFile(path: path, of: digest) } != nil, "\(count) bytes")
    }
  }

  /// Whoever forges a pack, with all its sums, makes a damaged row of a number that is none, and nothing else.
  @Test func aNumberThatIsNoneIsDamage() throws {
    let plain = try pack(scratch.file("a.jsonl", "{\"a\":1.5}\n")).1
    let good = try [UInt8](Data(contentsOf: URL(fileURLWithPath: plain.path)))
    // Head, block (its rows, its end, column, tag, number), schema, index, footer.
    let (block, number, footer) = (16..<35, 27..<35, good.count - 80)
    let path = "\(scratch.directory)/forged"
    for value in [2.5, .infinity, -.infinity, Double.nan] {
      var bytes = good
      bytes.replaceSubrange(number, with: withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) })
      let sum = bytes[block].withUnsafeBytes { cunpack_crc32($0.baseAddress, $0.count) }
      bytes.replaceSubrange((footer - 4)..<footer, with: withUnsafeBytes(of: sum.littleEndian) { Array($0) })
      var hash = Sha256()
      for part in [Array(bytes[35..<(footer + 40)]), Array(digest.hex.utf8)] { hash.update(part.span.bytes) }
      bytes.replaceSubrange((footer + 40)..<(footer + 72), with: hash.finalizeBytes())
      try Disk.writeAtomically(bytes, to: path)
      let forged = try PackFile(path: path, of: digest)
      let errors = [
        failure { _ = try forged.values(ofRows: [0], columns: ["a"]) }, failure { try forged.check() },
        failure { _ = try RowScan(forged, columns: ["a"]).next() },
      ]
      for error in errors {
        #expect((error == nil) == value.isFinite, "\(value)")
        #expect(error.map { $0.code == .integrity && $0.message.contains("row 0 is damaged") } ?? true)
      }
    }
  }

  @Test func blocksComeBack() {
    var random = SplitMix64(seed: 3)
    for round in 0..<400 {
      let alphabet = UInt64([1, 2, 5, 256][round % 4])
      let plain = (0..<(round < 40 ? round : Int(random.next() % 70_000))).map { _ in UInt8(random.next() % alphabet) }
      guard !plain.isEmpty else { continue }
      var packed = [UInt8](repeating: 0, count: cunpack_bound(plain.count))
      packed.removeLast(packed.count - cunpack_pack(plain, plain.count, &packed))
      var back = [UInt8](repeating: 0, count: plain.count)
      #expect(cunpack_unpack(packed, packed.count, &back, back.count) == 0 && back == plain)
      #expect(cunpack_unpack(packed, packed.count, &back, back.count - 1) == -1)
      // Cut and changed, it ends well: no byte outside is touched (AddressSanitizer in `make fuzz`).
      _ = cunpack_unpack(packed, packed.count / 2, &back, back.count)
      packed[Int(random.next() % UInt64(packed.count))] ^= 0xFF
      _ = cunpack_unpack(packed, packed.count, &back, back.count)
    }
  }
}
