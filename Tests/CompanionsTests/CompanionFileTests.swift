// What is read of companions' files, and what of hostile ones is refused.

import Base
import Companions
import Foundation
import TestSupport
import Testing

/// A file of a test's own, gone with it.
final class Scratch {
  let directory: String

  init() throws {
    directory = NSTemporaryDirectory() + "companions-\(UUID().uuidString)"
    try Disk.makeDirectory(directory)
  }

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  func file(_ name: String, _ bytes: [UInt8]) throws -> CompanionFile {
    let path = "\(directory)/\(name)"
    try Disk.writeAtomically(bytes, to: path)
    return try CompanionFile(path, named: name)
  }

  func file(_ name: String, _ text: String) throws -> CompanionFile { try file(name, Array(text.utf8)) }

  /// The bytes of a text as a command packs them.
  func packed(_ text: String, by command: String) throws -> [UInt8] {
    let path = "\(directory)/plain"
    try Disk.writeAtomically(Array(text.utf8), to: path)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", "\(command) < '\(path)' > '\(path).packed'"]
    try process.run()
    process.waitUntilExit()
    return Array(try Data(contentsOf: URL(fileURLWithPath: path + ".packed")))
  }
}

/// A parquet file of the fixtures.
func parquetFixture(_ name: String) throws -> [UInt8] {
  let place = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../Fixtures/parquet/\(name).parquet").standardized
  return Array(try Data(contentsOf: place))
}

/// The error that something ends with.
func failure(_ body: () throws -> Void) -> TarnError? {
  do {
    try body()
    return nil
  } catch { return error as? TarnError }
}

@Suite struct CompanionFileTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  @Test(arguments: [
    ("a.parquet", "parquet", ""), ("dir.csv/a.jsonl", "jsonl", ""), ("A.CSV.GZ", "csv", "gz"),
    ("a.txt.zst", "txt", "zst"),
    ("a.b.jsonl.gz", "jsonl", "gz"),
  ])
  func aNameSaysTheFormat(name: String, table: String, packing: String) throws {
    let format = try #require(CompanionFormat(ofFile: name))
    #expect(format.table.rawValue == table && format.packing.rawValue == packing)
  }

  @Test(arguments: ["a.npy", "a", "parquet", "a.gz", "a.parquet.gz", "a.json", "a.txt.bz2", "gz"])
  func otherNamesSayNone(name: String) { #expect(CompanionFormat(ofFile: name) == nil) }

  @Test func linesAreRowsOfOneColumn() throws {
    let file = try scratch.file("a.txt", "\u{FEFF}first\r\n\nthird, \"x\"\nlast")
    #expect(try file.rowCount() == 4)
    let rows = try file.values(ofRows: [3, 0, 1, 2, 4], columns: ["text"])
    #expect(rows == [[.string("last")], [.string("first")], [.string("")], [.string("third, \"x\"")], nil])
    #expect(try scratch.file("b.txt", "one\n").rowCount() == 1)
  }

  @Test func membersOfJSONAreColumns() throws {
    let file = try scratch.file(
      "a.jsonl",
      #"{"url":"u0","n":1,"x":0.5,"tags":["a",{"b":null}]}"# + "\n\n" + #"{"n":null,"ok":true,"late":"ü"}"# + "\n")
    #expect(try file.rowCount() == 3)
    let rows = try file.values(ofRows: [0, 1, 2], columns: ["url", "n", "x", "tags", "ok", "late"])
    #expect(
      rows == [
        [
          .string("u0"), .integer(1), .number(0.5), .array([.string("a"), .object(["b": .null])]), .null, .null,
        ],
        [.null, .null, .null, .null, .null, .null], [.null, .null, .null, .null, .bool(true), .string("ü")],
      ])
    let error = try #require(failure { _ = try file.values(ofRows: [0], columns: ["uri"]) })
    #expect(error.code == .usage && error.description.contains("n, tags, url, x, late, ok"), "\(error)")
  }

  /// What `json.dumps` writes, which is more than JSON.
  @Test func whatPythonWritesIsRead() throws {
    let file = try scratch.file(
      "a.jsonl",
      #"{"x":NaN,"y":[Infinity,-Infinity,-1],"t":"\ud83d"}"# + "\n"
        + #"{"x":-Infinity,"y":{"z":NaN},"t":"a\ud83d\n\udc00b\ud83d\ud83d\ude00"}"# + "\n")
    #expect(
      try file.values(ofRows: [0, 1], columns: ["x", "y", "t"]) == [
        [.null, .array([.null, .null, .integer(-1)]), .string("\u{FFFD}")],
        [.null, .object(["z": .null]), .string("a\u{FFFD}\n\u{FFFD}b\u{FFFD}\u{1F600}")],
      ])
    for text in [#"{"x":nan}"#, #"{"x":Inf}"#, #"{"x":-Inf}"#, #"{"x":"\ud83d\u12"}"#] {
      let error = try #require(failure { _ = try scratch.file("b.jsonl", text).values(ofRows: [0], columns: ["x"]) })
      #expect(error.message.contains("row 0 is no JSON") && error.hint?.contains("line 1") == true, "\(error)")
    }
    // Names that differ in normalisation alone are one.
    let both = try scratch.file("c.jsonl", "{\"\u{E9}\":1,\"e\u{301}\":2}")
    let twice = try #require(failure { _ = try both.values(ofRows: [0], columns: ["\u{E9}"]) })
    #expect(twice.message.contains("is there twice"), "\(twice)")
    let table = try scratch.file("c.csv", "\u{E9},e\u{301},b\n1,2,3\n")
    #expect(try table.columns() == ["b"])
    // It is no document of tarn's own.
    #expect(JSONValue(parsing: #"{"x":NaN}"#) == nil && JSONValue(parsing: #"["\ud83d"]"#) == nil)
  }

  /// A name that nobody has is looked for in every row, and whoever waits may end that.
  @Test func lookingForAColumnCanBeEnded() throws {
    let lines = (0..<10_000).map { "{\"a\":\($0)}\n" }.joined() + "{\"b\":1}\n"
    let file = try scratch.file("many.jsonl", lines)
    var count = 0
    let all = try file.columns(until: ["none"], checkpoint: { count += 1 })
    #expect(all == ["a", "b"] && count == 2)
    let first = try file.columns(until: ["a"], checkpoint: { count += 1 })
    #expect(first == ["a"] && count == 2)
    #expect(try file.columns(ofFirst: 4096) == ["a"])
    let error = failure {
      _ = try file.columns(until: ["none"], checkpoint: { throw TarnError(.interrupted, "enough") })
    }
    #expect(error?.message == "enough")
  }

  @Test func csvIsRFC4180() throws {
    let text = "url,caption\r\n\"a,b\",\"say \"\"hi\"\"\nto\r\nme\"\r\n,\"\"\nplain,x y\n"
    let file = try scratch.file("a.csv", text)
    #expect(try file.rowCount() == 3)
    let rows = try file.values(ofRows: [0, 1, 2], columns: ["caption", "url"])
    #expect(
      rows == [
        [.string("say \"hi\"\nto\r\nme"), .string("a,b")], [.string(""), .null], [.string("x y"), .string("plain")],
      ])
  }

  /// What `DataFrame.to_csv(path)` writes has an index without a name.
  @Test func columnsWithoutANameOfTheirOwnAreLeftOut() throws {
    let file = try scratch.file("a.csv", ",a,b,a,c,\n0,x,1,y,z,\n1,\"p,\nq\",2,r,,\n\n\r\n")
    #expect(try file.rowCount() == 2 && file.columns() == ["b", "c"])
    #expect(
      try file.values(ofRows: [0, 1, 2], columns: ["c", "b"]) == [
        [.string("z"), .string("1")], [.null, .string("2")], nil,
      ])
    #expect(file.leftOut().map(\.name) == ["", "a"])
    let error = try #require(failure { _ = try file.values(ofRows: [0], columns: ["a"]) })
    #expect(error.code == .badFeatures && error.hint?.contains("a name of its own") == true, "\(error)")
    // Of one column an empty line is a row, and within a file of several it is none that is passed over.
    #expect(try scratch.file("b.csv", "a\nx\n\n\n").rowCount() == 3)
    let gap = try scratch.file("c.csv", "a,b\n1,2\n\n\n3,4\n\n")
    #expect(try gap.rowCount() == 4)
    #expect(failure { _ = try gap.values(ofRows: [3], columns: ["a"]) }?.message.contains("row 1 has 1 field") == true)
  }

  /// A row of a file is one whether or not its quotes are those of RFC 4180, so that it is counted as it is told.
  @Test func quotesWithinAFieldOpenNothing() throws {
    let file = try scratch.file("a.csv", "a,b\n" + (0..<300).map { "u\($0),\($0)\" disk\n" }.joined())
    #expect(try file.rowCount() == 300)
    #expect(try scratch.file("b.csv", "a,b\n\"x\"\"\n,\"\"\",1\n2,\"\"\"\"\n").rowCount() == 2)
  }

  @Test(arguments: [
    ("a.csv", "a,a\n1,2\n", "it is one of 2 columns of that name"),
    ("a.csv", "a,b\n1\n", "row 0 has 1 field"),
    ("a.csv", "a\n\"x\n", "it ends within quotes that line 2 of it opens"),
    ("a.csv", "a,b\n\"x\ny\",\"z\n\n", "it ends within quotes that line 3 of it opens"),
    ("a.csv", "a,b\nu,5\" disk\nu,6\" disk\n", "row 0 has a quote within a field"),
    ("a.csv", "a,b\nx\"y\",1\n", "quote within a field"),
    ("a.csv", "a,b\n\"x\"y,1\n", "quote within a field"), ("a.csv", "", "no line of column names"),
    ("a.jsonl", "{\"a\":1}\n{\"a\":1,\"a\":2}\n", "row 1 is no JSON"),
    ("a.jsonl", "{\"a\":1}\n[1]\n", "row 1 is no JSON object"),
    ("a.jsonl", "<!DOCTYPE html>\n", "its first line is no JSON object"),
    ("a.parquet", "<html>", "does not begin as a parquet"), ("a.parquet", "PARE....", "an encrypted file"),
    ("a.csv.gz", "a,b\n", "does not begin as a gzip"), ("a.csv.zst", "a,b\n", "does not begin as a Zstandard"),
  ])
  func whatIsNoTableIsToldByItsRow(name: String, text: String, cause: String) throws {
    let error = try #require(failure { _ = try scratch.file(name, text).values(ofRows: [0, 1], columns: ["a"]) })
    #expect(error.code == .badFeatures && error.message.contains(cause), "\(error)")
  }

  @Test(arguments: ["a.txt", "a.csv", "a.jsonl"]) func badUTF8IsTold(name: String) throws {
    let start = name == "a.csv" ? "text\n" : ""
    let quote = name == "a.jsonl" ? "\"" : ""
    let (open, close) = name == "a.jsonl" ? ("{\"text\":\"", "\"}") : (quote, quote)
    let bytes = Array("\(start)\(open)good\(close)\n\(open)".utf8) + [0xC3, 0x28] + Array("\(close)\n".utf8)
    let error = try #require(failure { _ = try scratch.file(name, bytes).values(ofRows: [1], columns: ["text"]) })
    #expect(error.message.contains("row 1 is not UTF-8"), "\(error)")
  }

  @Test(arguments: [("gz", "gzip -n"), ("zst", "zstd -q -c")]) func packedFilesAreTheSameRows(
    packing: String, command: String
  ) throws {
    let text = (0..<20_000).map { "{\"n\":\($0),\"t\":\"caption \($0 % 97)\"}\n" }.joined()
    let bytes = try scratch.packed(text, by: command)
    let file = try scratch.file("a.jsonl.\(packing)", bytes)
    #expect(try file.rowCount() == 20_000)
    #expect(try file.values(ofRows: [19_999], columns: ["n", "t"]) == [[.integer(19_999), .string("caption 17")]])
    // Members and frames may follow each other.
    let twice = try scratch.file("b.jsonl.\(packing)", bytes + bytes)
    #expect(try twice.rowCount() == 40_000)
    for cut in [bytes.count / 2, bytes.count - 1] {
      let error = failure { _ = try scratch.file("c.jsonl.\(packing)", Array(bytes[..<cut])).rowCount() }
      #expect(error?.message.contains("end early") == true, "\(String(describing: error))")
    }
    var broken = bytes
    broken[bytes.count / 2] ^= 0x40
    let error = failure {
      let file = try scratch.file("d.jsonl.\(packing)", broken)
      _ = try file.values(ofRows: [19_999], columns: ["n"])
    }
    #expect(error?.code == .badFeatures)
  }

  @Test func whatUnfoldsToTooMuchIsRefused() throws {
    let bytes = try scratch.packed("", by: "{ head -c 200000000 /dev/zero | tr '\\0' '\\n' | zstd -q -c; }")
    let error = failure { _ = try scratch.file("a.txt.zst", bytes).rowCount() }
    #expect(error?.message.contains("unfolds to more than 1000 times") == true, "\(String(describing: error))")
  }

  @Test func aRowHasABound() throws {
    let bytes = [UInt8](repeating: UInt8(ascii: "a"), count: (16 << 20) + 1)
    for name in ["a.txt", "a.jsonl", "a.csv"] {
      let start = name == "a.jsonl" ? "{\"a\":\"" : name == "a.csv" ? "a\n\"" : ""
      let error = failure {
        _ = try scratch.file(name, Array(start.utf8) + bytes).values(ofRows: [0], columns: ["text"])
      }
      #expect(error?.message.contains("more than 16 MiB") == true, "\(name): \(String(describing: error))")
    }
  }

  @Test func parquetGivesItsFlatColumns() throws {
    let file = try scratch.file("a.parquet", parquetFixture("plain"))
    #expect(try file.rowCount() == 20)
    let rows = try file.values(ofRows: [7, 2, 20], columns: ["int", "text", "score", "sha", "large", "bool"])
    #expect(
      rows == [
        [
          .integer(7_000_021), .string("caption 2"), .number(0.875), .string("070707"), .integer(7 << 33), .bool(false),
        ],
        [.null, .null, .number(0.25), .string("020202"), .integer(2 << 33), .null], nil,
      ])
    let error = try #require(failure { _ = try file.values(ofRows: [1], columns: ["url"]) })
    #expect(error.code == .usage && error.description.contains("bool, int"), "\(error)")
  }

  /// What the footer says wrongly of one column is that column's fault.
  @Test func aFaultyColumnIsInNoOthersWay() throws {
    let good = try parquetFixture("plain")
    let whole = try scratch.file("a.parquet", good)
    let names = try whole.columns()
    func value(_ name: String, _ file: CompanionFile) -> Result<[[JSONValue]?], TarnError> {
      var values: [[JSONValue]?] = []
      let error = failure { values = try file.values(ofRows: [0, 7], columns: [name]) }
      if let error { return .failure(error) }
      return .success(values)
    }
    let expected = names.map { value($0, whole) }
    let end = good.count - 8
    let footerByteCount = good[end..<(end + 4)].reversed().reduce(0) { $0 << 8 | Int($1) }
    var count = 0
    for place in (end - footerByteCount)..<end {
      var bytes = good
      bytes[place] ^= 0x40
      guard let file = try? scratch.file("b.parquet", bytes), (try? file.columns()) == names else { continue }
      let found = names.map { value($0, file) }
      let others = names.indices.filter { found[$0] != expected[$0] }
      guard others.count == 1, case .failure(let error) = found[others[0]] else { continue }
      if error.message.contains("row group 0: ") { count += 1 }
    }
    #expect(count > 0)
  }

  /// Wherever a column of a wide file lies in its footer, it is found.
  @Test func wideFilesAreReadByColumn() throws {
    let names = (0..<100).map { "c\($0)" }
    let path = "\(scratch.directory)/wide.parquet"
    var writer = try TableWriter(creating: path, columns: names)
    for row in 0..<50 { try writer.add(names.indices.map { .integer(Int64(row * 1000 + $0)) }) }
    try writer.finish()
    let file = try CompanionFile(path, named: "wide.parquet")
    #expect(try file.columns() == names)
    for column in [0, 31, 32, 63, 64, 99] {
      #expect(
        try file.values(ofRows: [0, 49], columns: ["c\(column)"]) == [
          [.string("\(column)")], [.string("\(49_000 + column)")],
        ])
    }
  }

  @Test func aListIsRefusedOnlyWhenItIsAskedFor() throws {
    let file = try scratch.file("a.parquet", parquetFixture("lists"))
    let error = try #require(failure { _ = try file.values(ofRows: [1], columns: ["tags"]) })
    #expect(error.code == .badFeatures && error.message.contains("a list"), "\(error)")
  }
}
