// What a companion's file is, as its name says: a table, packed whole or not.

internal import Base
internal import Parquet

/// How the rows of a companion's file are written.
package struct CompanionFormat: Sendable, Equatable {
  /// What a row is.
  package enum Table: String, Sendable, CaseIterable {
    case parquet
    /// A JSON object a line, whose members are the columns.
    case jsonl
    /// RFC 4180, with a line of names.
    case csv
    /// A line a row, in one column `text`.
    case txt
  }

  /// How the whole file is packed.
  package enum Packing: String, Sendable, CaseIterable {
    case none = ""
    case gzip = "gz"
    case zstd = "zst"
  }

  package let table: Table
  package let packing: Packing

  /// The extensions, as a sentence has them.
  package static let enumeration = ".parquet, .jsonl, .csv or .txt, the last three also with .gz or .zst behind"

  /// The format that a file's name says; nil when it is none of them.
  package init?(ofFile path: String) {
    var parts = (path.split(separator: "/").last ?? "").lowercased().split(
      separator: ".", omittingEmptySubsequences: false)
    guard parts.count > 1, let last = parts.popLast() else { return nil }
    if let table = Table(rawValue: String(last)) {
      (self.table, packing) = (table, .none)
      return
    }
    guard parts.count > 1, let packing = Packing(rawValue: String(last)), packing != .none,
      let table = parts.last.flatMap({ Table(rawValue: String($0)) }), table != .parquet
    else { return nil }
    (self.table, self.packing) = (table, packing)
  }

  /// Why the first bytes of a file are not of the format; nil where they may be.
  ///
  /// - Parameter start: The file from its start, at least four bytes of it where it has them.
  /// - Returns: One line.
  package func fault(ofStart start: [UInt8]) -> String? {
    if table == .parquet { return ParquetFile.fault(ofStart: start) }
    if packing == .gzip, !start.starts(with: [0x1F, 0x8B]) { return "it does not begin as a gzip file" }
    // Skippable frames may come first: their magic differs in the first byte.
    if packing == .zstd, start.count >= 4, Array(start[1..<4]) != [0xB5, 0x2F, 0xFD],
      Array(start[1..<4]) != [0x2A, 0x4D, 0x18]
    {
      return "it does not begin as a Zstandard file"
    }
    guard table == .jsonl, packing == .none else { return nil }
    let mark = LineFeed.byteOrderMark
    let text = start.dropFirst(start.starts(with: mark) ? mark.count : 0)
    let first = text.first { ![0x20, 0x09, 0x0D, 0x0A].contains($0) }
    return first == nil || first == UInt8(ascii: "{") ? nil : "its first line is no JSON object"
  }
}

extension TarnError {
  /// What is said of a file of companions that cannot be read.
  static func companion(_ name: String, _ cause: String, hint: String? = nil) -> TarnError {
    TarnError(.badFeatures, "\(name): \(cause)", hint: hint)
  }
}
