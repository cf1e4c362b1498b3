// Values of a column that a user names: one a line, in a file or piped in. They are read piece
// by piece, and what is kept of each is its digest.

internal import Base

/// Values of a file, each once.
struct ValueFile {
  /// SHA-256 of the texts.
  private(set) var digests: Set<ContentDigest> = []
  /// Lines that have nothing.
  private(set) var blankCount = 0
  /// Lines that say what one before did.
  private(set) var duplicateCount = 0
  /// Values with white space at an end, which is part of them.
  private(set) var spacedCount = 0
  private let name: String
  private var lineNumber = 1

  /// Bytes that are read at a time.
  private static let pieceByteCount = 1 << 20
  /// Bytes of a value, at most.
  private static let longest = 1 << 20
  /// Values of a file, at most.
  private static let most = 1_000_000

  /// Reads a file.
  ///
  /// A mark of the byte order before the first value and a carriage return behind each are
  /// not part of it; all else is, white space too. There are no comments.
  ///
  /// - Parameters:
  ///   - input: The file.
  ///   - checkpoint: Called for each piece; what it throws ends the reading.
  /// - Throws: ``TarnError`` `.usage` when there is no value, or one that no text of UTF-8 is,
  ///   naming its line.
  init(_ input: RowIDInput, checkpoint: () throws -> Void) throws {
    var line: [UInt8] = []
    switch input {
    case .standardInput(let bytes):
      name = "standard input"
      try take(bytes[...], &line)
    case .file(let path):
      name = path
      let file: InputFile
      do {
        file = try InputFile(path: path)
      } catch let error as TarnError where error.code == .inputsMissing {
        throw TarnError(.usage, error.message, hint: "name a file with one value a line, or - for standard input")
      }
      var buffer = [UInt8](repeating: 0, count: min(Self.pieceByteCount, file.byteCount))
      for first in stride(from: 0, to: file.byteCount, by: Self.pieceByteCount) {
        try checkpoint()
        let count = min(Self.pieceByteCount, file.byteCount - first)
        try file.read(into: &buffer, at: first, count: count)
        try take(buffer[..<count], &line)
      }
    }
    if !line.isEmpty { try add(line[...]) }
    guard !digests.isEmpty else {
      throw TarnError(.usage, "\(name.printable) has no value", hint: "write one a line")
    }
  }

  private mutating func take(_ piece: ArraySlice<UInt8>, _ line: inout [UInt8]) throws {
    var rest = piece
    while let end = rest.firstIndex(of: 0x0A) {
      try append(rest[..<end], &line)
      try add(line[...])
      line.removeAll(keepingCapacity: true)
      lineNumber += 1
      rest = rest[(end + 1)...]
    }
    try append(rest, &line)
  }

  private func append(_ bytes: ArraySlice<UInt8>, _ line: inout [UInt8]) throws {
    guard line.count + bytes.count <= Self.longest else {
      throw fault("is longer than \(Self.longest >> 20) MiB", "write one value a line")
    }
    line += bytes
  }

  private mutating func add(_ line: ArraySlice<UInt8>) throws {
    var value = line
    if lineNumber == 1, value.starts(with: [0xEF, 0xBB, 0xBF]) { value = value.dropFirst(3) }
    if value.last == 0x0D { value = value.dropLast() }
    guard let text = String(validating: value, as: UTF8.self), !value.contains(0) else {
      throw fault("is no text of UTF-8", "write the file again in UTF-8, one value a line")
    }
    guard let first = text.first, let last = text.last, !text.allSatisfy(\.isWhitespace) else {
      blankCount += 1
      return
    }
    if first.isWhitespace || last.isWhitespace { spacedCount += 1 }
    guard digests.insert(ContentDigest.of(value)).inserted else {
      duplicateCount += 1
      return
    }
    guard digests.count <= Self.most else {
      throw fault("is value \(Self.most + 1), more than one rule has", "make several rules of it")
    }
  }

  private func fault(_ what: String, _ hint: String) -> TarnError {
    TarnError(.usage, "\(name.printable), line \(lineNumber) \(what)", hint: hint)
  }
}
