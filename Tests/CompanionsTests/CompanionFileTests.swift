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

  @Test(arguments: [
    ("a.csv", "a,a\n1,2\n", "a column has no name, or that of another"), ("a.csv", "a,b\n1\n", "row 0 has 1 field"),
    ("a.csv", "a\n\"x\n", "it ends within quotes"), ("a.csv", "a,b\nx\"y\",1\n", "quote within a field"),
    ("a.csv", "a,b\n\"x\"y,1\n", "quote within a field"), ("a.csv", "", "no line of column names"),
    ("a.jsonl", "{\"a\":1}\n{\"a\":1,\"a\":2}\n", "row 1 is no JSON"),
    ("a.jsonl", "{\"a\":1}\n[1]\n", "row 1 is no JSON object"),
    ("a.jsonl", "<!DOCTYPE html>\n", "its first line is no JSON object"),
    ("a.parquet", "<html>", "does not begin as a parquet"),
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

  @Test func aListIsRefusedOnlyWhenItIsAskedFor() throws {
    let file = try scratch.file("a.parquet", parquetFixture("lists"))
    let error = try #require(failure { _ = try file.values(ofRows: [1], columns: ["tags"]) })
    #expect(error.code == .badFeatures && error.message.contains("a list"), "\(error)")
  }
}
