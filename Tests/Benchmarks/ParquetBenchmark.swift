// `tarn-bench parquet`: the parquet reader, run on request, so that a script can
// hold its values and its speed against those of other readers. One line in, one
// line out.

import Base
import Foundation
import Parquet

/// Reads columns of parquet files.
///
/// Words of a line are apart by tabs: `columns FILE` tells the columns, `values FILE COLUMN`
/// all values, with ROW,… only those of these rows, and `floats FILE COLUMN [TO [ROW,…]]` reads
/// rows of features, all or one from each of these, tells the seconds that it took,
/// and writes them to a file. What is refused is told as `error`.
final class ParquetBenchmark {
  /// Rows of features that are read at once.
  private static let blockByteCount = 8 << 20

  func run() throws {
    while let line = readLine() {
      let words = line.split(separator: "\t").map(String.init)
      do {
        switch (words.first, words.count) {
        case ("columns", 2): say(try columns(words[1]))
        case ("values", 3): say(["values": .array(try all(words[1], words[2]))])
        case ("values", 4):
          let rows = words[3].split(separator: ",").compactMap { Int($0) }
          let values = try ParquetFile(path: words[1]).values(ofRows: rows, column: words[2])
          say(["values": .array(values.map(\.json))])
        case ("floats", 3), ("floats", 4):
          say(try floats(words[1], words[2], to: words.count > 3 ? words[3] : nil))
        case ("floats", 5):
          let rows = words[4].split(separator: ",").compactMap { Int($0) }
          try floats(words[1], words[2], rows).write(to: URL(fileURLWithPath: words[3]))
          say(["rows": .count(rows.count)])
        default: throw BenchmarkError(text: "cannot do '\(line)'")
        }
      } catch let error as TarnError {
        say(["error": .string(error.description), "code": .string("\(error.code)")])
      }
    }
  }

  private func columns(_ path: String) throws -> [String: JSONValue] {
    let file = try ParquetFile(path: path)
    let columns = file.columns.map { column -> JSONValue in
      .object([
        "name": .string(column.name), "type": .string(column.physicalType.name),
        "logical": .optional(column.logicalType.map { "\($0)" }), "shape": .string("\(column.shape)"),
      ])
    }
    return ["rows": .count(file.rowCount), "columns": .array(columns)]
  }

  private func all(_ path: String, _ column: String) throws -> [JSONValue] {
    let cursor = try ColumnCursor(ParquetFile(path: path), column: column)
    var values: [JSONValue] = []
    while true {
      let next = try cursor.next(1000)
      if next.isEmpty { return values }
      values += next.map(\.json)
    }
  }

  private func floats(_ path: String, _ column: String, to target: String?) throws -> [String: JSONValue] {
    if let target { try Data().write(to: URL(fileURLWithPath: target)) }
    let output = try target.map { try FileHandle(forWritingTo: URL(fileURLWithPath: $0)) }
    let clock = ContinuousClock()
    let start = clock.now
    let reader = try FloatListReader(ParquetFile(path: path), column: column)
    let rowByteCount = reader.dimension * reader.elementType.byteCount
    var block = [UInt8](repeating: 0, count: max(1, Self.blockByteCount / rowByteCount) * rowByteCount)
    while reader.nextRow < reader.rowCount {
      let count = min(block.count / rowByteCount, reader.rowCount - reader.nextRow)
      try block.withUnsafeMutableBytes { bytes in
        try reader.read(
          rows: count, into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<(count * rowByteCount)]))
      }
      if let output { try output.write(contentsOf: block[..<(count * rowByteCount)]) }
    }
    return [
      "rows": .count(reader.rowCount), "dimension": .count(reader.dimension),
      "dtype": .string(reader.elementType.rawValue),
      "seconds": .number((clock.now - start) / .seconds(1)), "peak_bytes": .count((try? peakMemory()) ?? 0),
    ]
  }

  /// Single rows, one behind the other.
  private func floats(_ path: String, _ column: String, _ rows: [Int]) throws -> Data {
    let reader = try FloatListReader(ParquetFile(path: path), column: column)
    var row = [UInt8](repeating: 0, count: reader.dimension * reader.elementType.byteCount)
    return try rows.reduce(into: Data()) { data, number in
      try reader.seek(toRow: number)
      try row.withUnsafeMutableBytes { try reader.read(rows: 1, into: $0) }
      data += row
    }
  }
}

extension ParquetValue {
  /// The value for a script: bytes as their hexadecimal digits behind `0x`, numbers
  /// that JSON has not as texts.
  fileprivate var json: JSONValue {
    switch self {
    case .null: .null
    case .boolean(let value): .bool(value)
    case .integer(let value): .integer(value)
    case .unsigned(let value): .string("\(value)")
    case .float(let value): value.isFinite ? .number(Double(value)) : .string("\(value)")
    case .double(let value): value.isFinite ? .number(value) : .string("\(value)")
    case .text(let text): .string(text)
    case .bytes(let bytes): .string("0x" + bytes.map { String(format: "%02x", $0) }.joined())
    case .list(let values): .array(values.map(\.json))
    }
  }
}
