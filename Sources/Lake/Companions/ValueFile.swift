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
  private let input: RowIDInput

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
    self.input = input
    try Self.read(input, checkpoint) { try add($0, line: $1) }
    guard !digests.isEmpty else {
      throw TarnError(.usage, "\(input.name.printable) has no value", hint: "write one a line")
    }
  }

  /// The texts of some values, in the order of the file, which is read once more.
  ///
  /// - Parameters:
  ///   - wanted: Their digests.
  ///   - checkpoint: Called for each piece; what it throws ends the reading.
  /// - Returns: The texts; of a file that has changed since, those that it has still.
  /// - Throws: What `checkpoint` does.
  func texts(of wanted: Set<ContentDigest>, checkpoint: () throws -> Void) throws -> [String] {
    var (left, found): (Set<ContentDigest>, [String]) = (wanted, [])
    guard !left.isEmpty else { return [] }
    do {
      try Self.read(input, checkpoint) { value, _ in
        if !left.isEmpty, left.remove(ContentDigest.of(value)) != nil {
          found.append(String(decoding: value, as: UTF8.self))
        }
      }
    } catch let error as TarnError where error.code != .interrupted {
      // What was asked for is done; only this cannot be told.
    }
    return found
  }

  /// Reads lines, each without a mark of the byte order before the first and a carriage return behind it.
  private static func read(
    _ input: RowIDInput, _ checkpoint: () throws -> Void,
    _ body: (_ value: ArraySlice<UInt8>, _ lineNumber: Int) throws -> Void
  ) throws {
    var line: [UInt8] = []
    var number = 1
    func append(_ bytes: ArraySlice<UInt8>) throws {
      guard line.count + bytes.count <= longest else {
        throw fault(input, number, "is longer than \(longest >> 20) MiB", "write one value a line")
      }
      line += bytes
    }
    func end() throws {
      var value = line[...]
      if number == 1, value.starts(with: [0xEF, 0xBB, 0xBF]) { value = value.dropFirst(3) }
      if value.last == 0x0D { value = value.dropLast() }
      try body(value, number)
    }
    func take(_ piece: ArraySlice<UInt8>) throws {
      var rest = piece
      while let place = rest.firstIndex(of: 0x0A) {
        try append(rest[..<place])
        try end()
        line.removeAll(keepingCapacity: true)
        number += 1
        rest = rest[(place + 1)...]
      }
      try append(rest)
    }
    switch input {
    case .standardInput(let bytes): try take(bytes[...])
    case .file(let path):
      let file = try RowIDInput.open(path, orElse: "name a file with one value a line, or - for standard input")
      var buffer = [UInt8](repeating: 0, count: min(pieceByteCount, file.byteCount))
      for first in stride(from: 0, to: file.byteCount, by: pieceByteCount) {
        try checkpoint()
        let count = min(pieceByteCount, file.byteCount - first)
        try file.read(into: &buffer, at: first, count: count)
        try take(buffer[..<count])
      }
    }
    if !line.isEmpty { try end() }
  }

  private mutating func add(_ value: ArraySlice<UInt8>, line number: Int) throws {
    guard let text = String(validating: value, as: UTF8.self), !value.contains(0) else {
      throw Self.fault(
        input, number, "is no text of UTF-8", "write the file again in UTF-8, one value a line")
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
      throw Self.fault(
        input, number, "is value \(Self.most + 1), more than one rule has", "make several rules of it")
    }
  }

  private static func fault(_ input: RowIDInput, _ line: Int, _ what: String, _ hint: String) -> TarnError {
    TarnError(.usage, "\(input.name.printable), line \(line) \(what)", hint: hint)
  }
}
