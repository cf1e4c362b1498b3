// All rows front to back: what a scan gives is what single rows are, of packs and of files.

import Base
import Companions
import Foundation
import TestSupport
import Testing

@Suite struct RowScanTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func pack(_ file: CompanionFile) throws -> PackFile {
    let digest = ContentDigest(bytes: [UInt8](repeating: 7, count: 32))
    let path = "\(scratch.directory)/pack"
    _ = try PackWriter.write(file, digest: digest, through: path + ".tmp", to: path)
    return try PackFile(path: path, of: digest)
  }

  private func all(_ scan: RowScan) throws -> [[JSONValue]] {
    var rows: [[JSONValue]] = []
    while try scan.next() {
      rows.append(
        scan.values.map { value in
          switch value {
          case .null: .null
          case .bool(let flag): .bool(flag)
          case .integer(let number): .integer(number)
          case .number(let number): .number(number)
          case .text(let bytes): .string(String(decoding: bytes, as: UTF8.self))
          case .json(let bytes): JSONValue(parsing: String(decoding: bytes, as: UTF8.self)) ?? .null
          }
        })
    }
    return rows
  }

  @Test func everyRowIsItsOwn() throws {
    var random = SplitMix64(seed: 2)
    let lines = (0..<4000).map { row -> String in
      switch random.next() % 6 {
      case 0: ""
      case 1: "{\"n\":\(row),\"flag\":true,\"list\":[\(row),null]}"
      case 2: "{\"text\":\"\(String(repeating: "ä\(row) ", count: row % 90))\",\"half\":\(row).5}"
      case 3: "{\"flag\":false,\"n\":null,\"text\":\"\"}"
      case 4: "{\"other\":1}"
      default: "{\"n\":-\(row),\"text\":\"x\"}"
      }
    }
    let file = try scratch.file("table.jsonl", lines.joined(separator: "\n") + "\n")
    let names = ["text", "n", "list", "flag", "half"]
    let expected = try file.values(ofRows: Array(0..<4000), columns: names).map { $0 ?? [] }
    #expect(try all(RowScan(file, columns: names)) == expected)
    #expect(try all(RowScan(pack(file), columns: names)) == expected)
    #expect(try all(RowScan(pack(file), columns: ["n"])) == expected.map { [$0[1]] })
    #expect(failure { _ = try RowScan(pack(file), columns: ["none"]) }?.code == .usage)
    #expect(try all(RowScan(pack(file), columns: ["none", "n"], mayLack: true)) == expected.map { [.null, $0[1]] })
    let table = try scratch.file("table.csv", "a,b\n1,x\n,\n3,\"y\nz\"\n")
    #expect(
      try all(RowScan(table, columns: ["b", "a"])) == [
        [.string("x"), .string("1")], [.null, .null], [.string("y\nz"), .string("3")],
      ])
    #expect(failure { _ = try RowScan(table, columns: ["c"]) }?.code == .usage)
  }

  /// A block whose bytes changed is found out, and rows before it are what they were.
  @Test func aDamagedBlockIsTold() throws {
    let lines = (0..<6000).map { "{\"n\":\($0),\"text\":\"\(String(repeating: "w", count: $0 % 50))\"}\n" }.joined()
    let pack = try pack(try scratch.file("many.jsonl", lines))
    var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: pack.path)))
    bytes[bytes.count / 2] ^= 1
    let path = "\(scratch.directory)/damaged"
    try Disk.writeAtomically(bytes, to: path)
    let damaged = try PackFile(path: path, of: ContentDigest(bytes: [UInt8](repeating: 7, count: 32)))
    let scan = try RowScan(damaged, columns: ["n"])
    var rows: [Int64] = []
    let error = failure {
      while try scan.next() {
        if case .integer(let number) = scan.values[0] { rows.append(number) }
      }
    }
    #expect(error?.code == .integrity && !rows.isEmpty && rows == Array(0..<Int64(rows.count)), "\(rows.count)")
  }
}
