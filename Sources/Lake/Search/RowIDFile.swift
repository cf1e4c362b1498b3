// Row ids that a user names: one a line, or a `.npy` of int64, such as a search writes, in a file or piped in.
// They are read piece by piece, and nothing in them is believed.

internal import Base
internal import Catalog
internal import Features
internal import Foundation

/// Where a user's row ids are.
package enum RowIDInput: Sendable {
  case file(String)
  /// All that was piped in.
  case standardInput([UInt8])

  /// What it is called in messages.
  var name: String {
    switch self {
    case .file(let path): path
    case .standardInput: "standard input"
    }
  }

  /// Opens a file that a user named.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - hint: What to do where there is none.
  /// - Returns: The file.
  /// - Throws: ``TarnError`` `.usage` where there is none, or a directory or a pipe, which goes by
  ///   standard input; `.io`.
  static func open(_ path: String, orElse hint: String) throws -> InputFile {
    do {
      return try InputFile(path: path)
    } catch let error as TarnError where error.code == .inputsMissing {
      throw TarnError(.usage, error.message, hint: hint)
    } catch let error as TarnError where error == Disk.notRegular(path) {
      let way = "pipes and devices have no length: give - in place of the file and pipe it in, or copy it into a file"
      throw TarnError(.usage, error.message, hint: Disk.isDirectory(path) ? error.hint : way)
    }
  }
}

/// A file of row ids.
struct RowIDFile {
  /// Fills a buffer's front from an offset.
  private let reading: (_ buffer: inout [UInt8], _ offset: Int, _ count: Int) throws -> Void
  private let byteCount: Int
  /// What it is called in messages.
  let name: String
  /// What the ids must be below.
  private let end: Int64
  /// What has these rows, for messages.
  private let owner: String

  /// Bytes that are read at a time.
  private static let pieceByteCount = 1 << 20
  /// Digits that no id has.
  private static let longestLine = 64

  /// Opens a file.
  ///
  /// - Parameters:
  ///   - input: The file.
  ///   - version: The version that has these rows.
  ///   - catalog: Says which it has.
  /// - Throws: ``TarnError`` `.usage` when there is none, else as reading does.
  init(_ input: RowIDInput, of version: IndexVersion, in catalog: LakeCatalog) throws {
    try self.init(
      input, below: try catalog.inputs(of: version).map(\.ids.upperBound).max() ?? 0,
      of: "\(version.name)")
  }

  /// Opens a file of ids of whatever has rows.
  ///
  /// - Parameters:
  ///   - input: The file.
  ///   - end: What the ids must be below.
  ///   - owner: What has these rows, for messages.
  /// - Throws: As there.
  init(_ input: RowIDInput, below end: Int64, of owner: String) throws {
    switch input {
    case .file(let path):
      let file = try RowIDInput.open(path, orElse: "name a file of row ids, or - for standard input")
      byteCount = file.byteCount
      reading = { try file.read(into: &$0, at: $1, count: $2) }
    case .standardInput(let bytes):
      byteCount = bytes.count
      reading = { $0.replaceSubrange(..<$2, with: bytes[$1..<($1 + $2)]) }
    }
    name = input.name
    self.end = end
    self.owner = owner
  }

  /// Hands out every id, in the order of the file; one may come twice.
  ///
  /// - Parameters:
  ///   - checkpoint: Called for each piece; what it throws ends the reading.
  ///   - body: Gets each id.
  /// - Throws: ``TarnError`` `.usage` naming the place of what is no id of a row.
  func read(checkpoint: () throws -> Void, _ body: (Int64) -> Void) throws {
    let start = try bytes(at: 0, count: min(byteCount, NpyHeader.maximumByteCount))
    if start.starts(with: NpyHeader.magic) {
      try readArray(start, checkpoint, body)
    } else {
      try readLines(checkpoint, body)
    }
  }

  private func bytes(at offset: Int, count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try reading(&bytes, offset, count)
    return bytes
  }

  private func check(_ id: Int64, _ place: () -> String) throws {
    guard (0..<end).contains(id) else {
      throw TarnError(
        .usage, "\(name), \(place()): \(id) is no row id of \(owner)",
        hint: "its ids are 0 to \(end - 1); `tarn locate` says where one is")
    }
  }

  // MARK: An array

  private func readArray(_ start: [UInt8], _ checkpoint: () throws -> Void, _ body: (Int64) -> Void) throws {
    let (shape, dataOffset) = try NpyHeader.shapeOfIntegers(start, of: name)
    let count = (byteCount - dataOffset) / 8
    guard byteCount == dataOffset + 8 * count, shape.reduce(1, { $0.multipliedSaturated(by: $1) }) == count else {
      throw TarnError(
        .usage, "\(name) has \(byteCount) bytes, which is not what its header says: \(shape) elements",
        hint: "it was cut or is something else; write it again with numpy.save")
    }
    // What a search wrote: a query's rows side by side, filled up with -1 where there are fewer.
    let isAnswer = shape.count > 1
    let width = Self.pieceByteCount / 8
    for first in stride(from: 0, to: count, by: width) {
      try checkpoint()
      let piece = try bytes(at: dataOffset + 8 * first, count: 8 * min(width, count - first))
      for number in 0..<(piece.count / 8) {
        let id = unsafe piece.withUnsafeBytes { bytes in
          unsafe Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * number, as: Int64.self))
        }
        if isAnswer, id == -1 { continue }
        try check(id) { "element \(first + number)" }
        body(id)
      }
    }
  }

  // MARK: Lines

  private func readLines(_ checkpoint: () throws -> Void, _ body: (Int64) -> Void) throws {
    var line: [UInt8] = []
    var number = 1
    func finish() throws {
      defer {
        line.removeAll(keepingCapacity: true)
        number += 1
      }
      while let last = line.last, [0x20, 0x09, 0x0D].contains(last) { line.removeLast() }
      let text = line.drop { $0 == 0x20 || $0 == 0x09 }
      // Empty lines and comments are nothing, as in other lists.
      guard let first = text.first, first != 0x23 else { return }
      guard let id = Int64(String(decoding: text, as: UTF8.self)), first != 0x2B else {
        throw TarnError(
          .usage, "\(name), line \(number): '\(String(decoding: text, as: UTF8.self).printable)' is no row id",
          hint: "write one id a line, or an array of int64 with numpy.save")
      }
      try check(id) { "line \(number)" }
      body(id)
    }
    for first in stride(from: 0, to: byteCount, by: Self.pieceByteCount) {
      try checkpoint()
      for byte in try bytes(at: first, count: min(Self.pieceByteCount, byteCount - first)) {
        if byte == 0x0A {
          try finish()
        } else if line.count < Self.longestLine || line.first == 0x23 {
          if line.first != 0x23 || line.isEmpty { line.append(byte) }
        } else {
          throw TarnError(
            .usage, "\(name), line \(number) is longer than any row id",
            hint: "write one id a line, or an array of int64 with numpy.save")
        }
      }
    }
    try finish()
  }
}
