// The bytes of a text file in order, unpacked as they are read, and its lines. What a
// short file unfolds to is bounded by its length.

internal import Base
internal import CUnpack

/// Unpacked bytes, piece by piece.
///
/// Belongs to one thread.
final class ByteFeed {
  let name: String
  private let file: InputFile
  private let packing: CompanionFormat.Packing
  private let stream: OpaquePointer?
  private var input: [UInt8]
  private var held = 0..<0
  private var offset = 0
  private var unpackedByteCount = 0
  private var isBetween = true

  private static let pieceByteCount = 256 << 10
  /// What a packed file may unfold to: so many bytes whatever its length, and more only
  /// up to so many times its length.
  static let (freeByteCount, mostRatio) = (64 << 20, 1000)

  init(_ file: InputFile, packing: CompanionFormat.Packing) throws {
    (self.file, self.packing, name) = (file, packing, file.path)
    stream = packing == .none ? nil : cunpack_open(packing == .zstd ? 1 : 0)
    guard packing == .none || stream != nil else { throw TarnError(.io, "there is no memory to unpack \(name)") }
    input = [UInt8](repeating: 0, count: Self.pieceByteCount)
  }

  deinit { if let stream { cunpack_close(stream) } }

  /// Appends the next bytes.
  ///
  /// - Returns: Whether there were any; at the end there are none.
  /// - Throws: ``TarnError`` `.badFeatures` for what does not unpack, or unfolds to too
  ///   much; `.io`.
  func append(to bytes: inout [UInt8]) throws -> Bool {
    guard let stream else {
      guard try refill() else { return false }
      bytes += input[held]
      held = 0..<0
      return true
    }
    while true {
      if held.isEmpty, try !refill() {
        // What is left in the stream's own memory, if it is within something.
        guard !isBetween else { return false }
      }
      let start = bytes.count
      bytes.append(contentsOf: repeatElement(0, count: Self.pieceByteCount))
      var (taken, given) = (held.count, Self.pieceByteCount)
      let status = input.withUnsafeBytes { input in
        bytes.withUnsafeMutableBytes { bytes in
          cunpack_run(
            stream, input.baseAddress.map { $0 + held.lowerBound }, &taken, bytes.baseAddress.map { $0 + start }, &given
          )
        }
      }
      let isAtEnd = held.isEmpty
      held = (held.lowerBound + taken)..<held.upperBound
      bytes.removeLast(Self.pieceByteCount - given)
      isBetween = status == 1
      unpackedByteCount += given
      let isStuck = taken == 0 && given == 0 && !isAtEnd && status == 0
      if status < 0 || isStuck {
        throw TarnError.companion(
          name, status == -2 ? "it wants a window of more than 128 MiB" : "its packed bytes are damaged",
          hint: status == -2 ? "pack it without --long" : "fetch it again")
      }
      if unpackedByteCount > Self.freeByteCount, unpackedByteCount / Self.mostRatio > file.byteCount {
        throw TarnError.companion(
          name, "it unfolds to more than \(Self.mostRatio) times its \(file.byteCount) bytes", hint: "unpack it first")
      }
      if given > 0 { return true }
      guard isAtEnd else { continue }
      guard isBetween else { throw TarnError.companion(name, "its packed bytes end early", hint: "fetch it again") }
      return false
    }
  }

  private func refill() throws -> Bool {
    let count = min(Self.pieceByteCount, file.byteCount - offset)
    guard count > 0 else { return false }
    try file.read(into: &input, at: offset, count: count)
    offset += count
    held = 0..<count
    return true
  }
}

/// Lines of a text file; what ends one is a line feed, and the last may have none.
struct LineFeed {
  private let feed: ByteFeed
  private var bytes: [UInt8] = []
  private var next = 0
  private var isAtStart = true
  private var hasEnded = false

  /// What a text in UTF-8 may begin with, which is none of it.
  static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
  /// The most bytes of a line, or of a row of several lines.
  static let mostByteCount = 16 << 20

  var name: String { feed.name }

  init(_ feed: ByteFeed) { self.feed = feed }

  /// The next line without its line feed; nil behind the last.
  mutating func line() throws -> ArraySlice<UInt8>? {
    var searched = next
    while true {
      let found = bytes.withUnsafeBytes { buffer -> Int? in
        var place = searched
        while place < buffer.count {
          if buffer[place] == 0x0A { return place }
          place += 1
        }
        return nil
      }
      if let found {
        guard found - next <= Self.mostByteCount else { throw tooLong }
        return take(upTo: found, skipping: 1)
      }
      searched = bytes.count
      guard bytes.count - next <= Self.mostByteCount else { throw tooLong }
      if next > 0 {
        bytes.removeFirst(next)
        (searched, next) = (searched - next, 0)
      }
      let isMore = try !hasEnded && feed.append(to: &bytes)
      if !isMore {
        hasEnded = true
        return bytes.isEmpty ? nil : take(upTo: bytes.count, skipping: 0)
      }
    }
  }

  /// Takes the bytes up to a place as a line, and passes over what ends it.
  private mutating func take(upTo end: Int, skipping count: Int) -> ArraySlice<UInt8> {
    var line = bytes[next..<end]
    next = end + count
    if isAtStart {
      isAtStart = false
      if line.starts(with: Self.byteOrderMark) { line = line.dropFirst(Self.byteOrderMark.count) }
    }
    return line
  }

  var tooLong: TarnError {
    TarnError.companion(name, "a row has more than \(Self.mostByteCount >> 20) MiB", hint: "no row is that long")
  }
}
