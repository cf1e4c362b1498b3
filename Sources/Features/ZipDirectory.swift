// The directory of a zip archive, as `torch.save`, `numpy.savez` and Python's `zipfile` write
// it: what entries there are and where their bytes lie. Nothing is unpacked here, and what is
// repeated, overlaps or lies outside the file is refused.
// Format: APPNOTE.TXT 6.3, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT

internal import Base
internal import CZip

/// The entries of an archive by their names.
struct ZipDirectory {
  /// How the bytes of an entry are packed.
  enum Method: Equatable {
    case stored, deflated
    /// One that is not read, by its name.
    case other(String)

    init(number: Int) {
      switch number {
      case 0: self = .stored
      case 8: self = .deflated
      case 9: self = .other("deflate64")
      case 12: self = .other("bzip2")
      case 14: self = .other("lzma")
      case 93, 20: self = .other("zstd")
      case 95: self = .other("xz")
      default: self = .other("method \(number)")
      }
    }
  }

  /// Bytes of the file that are an entry's contents.
  struct Entry: Equatable {
    let name: String
    let method: Method
    let isEncrypted: Bool
    let dataOffset: Int
    /// Bytes in the file.
    let packedByteCount: Int
    /// Bytes of its contents.
    let byteCount: Int
    let crc32: UInt32

    /// The name for messages.
    var title: String { "entry '\(name.prefix(100))' of its zip archive" }

    /// Requires contents that lie in the file as they are.
    func requireStored() throws(FeatureFault) {
      try requirePlain()
      guard method == .stored else {
        throw FeatureFault("\(title) is compressed; torch.save stores entries as they are")
      }
    }

    /// Requires contents that nothing hides.
    func requirePlain() throws(FeatureFault) {
      guard !isEncrypted else { throw FeatureFault("\(title) is encrypted") }
    }
  }

  /// In the order of the directory.
  private(set) var entries: [Entry] = []
  private var places: [String: Int] = [:]
  /// Who is said to have written it, for messages.
  private let writer: String

  private static let maximumEntryCount = 4096
  private static let maximumByteCount = 1 << 20
  /// What a file with entries begins with.
  static let magic: [UInt8] = [0x50, 0x4B, 3, 4]

  /// The entry of a name.
  subscript(name: String) -> Entry? { places[name].map { entries[$0] } }

  /// Reads the directory at the end of a file.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - writer: What such files are from, for messages.
  /// - Throws: ``FeatureFault`` for what is no such archive; ``TarnError`` `.io`.
  init(_ file: UntrustedFile, from writer: String) throws {
    self.writer = writer
    let (offset, byteCount, count) = try Self.locate(file, writer)
    guard count <= Self.maximumEntryCount, byteCount <= Self.maximumByteCount else {
      throw FeatureFault("its zip directory lists \(count) entries in \(byteCount) bytes; \(writer) writes a few")
    }
    let directory = try file.bytes(at: offset, count: byteCount, "its zip directory")
    var position = 0
    for _ in 0..<count {
      guard position + 46 <= directory.count, directory.littleEndian(at: position, 4) == 0x0201_4B50 else {
        throw FeatureFault("its zip directory is damaged")
      }
      let lengths = (0..<3).map { directory.littleEndian(at: position + 28 + 2 * $0, 2) }
      let end = position + 46 + lengths.reduce(0, +)
      guard end <= directory.count else { throw FeatureFault("its zip directory is damaged") }
      try add(Array(directory[position..<end]), nameLength: lengths[0], extraLength: lengths[1], limit: offset, file)
      position = end
    }
    guard position == directory.count else { throw FeatureFault("its zip directory is damaged") }
    let sorted = entries.sorted { $0.dataOffset < $1.dataOffset }
    for (left, right) in zip(sorted, sorted.dropFirst()) where left.dataOffset + left.packedByteCount > right.dataOffset
    {
      throw FeatureFault("entries of its zip archive overlap")
    }
  }

  /// Where the directory is: from the last record of the file, or the 64-bit
  /// one that this points to.
  private static func locate(
    _ file: UntrustedFile, _ writer: String
  ) throws -> (offset: Int, byteCount: Int, count: Int) {
    let start = try file.bytes(at: 0, count: min(4, file.byteCount), "its first bytes")
    guard start == magic else {
      if start.first == 0x80 {
        throw FeatureFault("it is a pickle without an archive; save it again with torch.save of PyTorch 1.6 or later")
      }
      throw FeatureFault("it is not a zip archive as \(writer) writes it")
    }
    // Nobody leaves a comment, so the last record ends the file.
    let lacking = FeatureFault(
      "its zip archive has no end; it is truncated", hint: "fetch it again, or take away what stands behind the archive"
    )
    guard file.byteCount >= 22 else { throw lacking }
    let end = try file.bytes(at: file.byteCount - 22, count: 22, "its end")
    guard end.littleEndian(at: 0, 4) == 0x0605_4B50 else { throw lacking }
    let short = (end.littleEndian(at: 16, 4), end.littleEndian(at: 12, 4), end.littleEndian(at: 10, 2))
    let result: (Int, Int, Int)
    if short.0 == 0xFFFF_FFFF || short.1 == 0xFFFF_FFFF || short.2 == 0xFFFF {
      let locator = try file.bytes(at: file.byteCount - 42, count: 20, "its zip64 locator")
      guard locator.littleEndian(at: 0, 4) == 0x0706_4B50, let at = locator.littleEndian64(at: 8) else {
        throw FeatureFault("its zip64 directory is damaged")
      }
      let record = try file.bytes(at: at, count: 56, "its zip64 directory")
      guard record.littleEndian(at: 0, 4) == 0x0606_4B50, let offset = record.littleEndian64(at: 48),
        let byteCount = record.littleEndian64(at: 40), let count = record.littleEndian64(at: 32)
      else { throw FeatureFault("its zip64 directory is damaged") }
      result = (offset, byteCount, count)
    } else {
      result = short
    }
    guard result.0 <= file.byteCount, result.1 <= file.byteCount - result.0 else {
      throw FeatureFault("its zip directory is outside the file; it is truncated")
    }
    return result
  }

  /// Takes one record of the directory.
  private mutating func add(
    _ record: [UInt8], nameLength: Int, extraLength: Int, limit: Int, _ file: UntrustedFile
  ) throws {
    let nameBytes = record[46..<46 + nameLength]
    guard let name = String(validating: nameBytes, as: UTF8.self),
      !name.unicodeScalars.contains(where: HiddenText.contains), !name.contains("\\"),
      !name.hasPrefix("/"), !name.isEmpty, !name.split(separator: "/").contains("..")
    else {
      let name = String(decoding: nameBytes.prefix(60), as: UTF8.self)
      throw FeatureFault("its zip archive has an entry named '\(name.printableASCII)'")
    }
    let title = "entry '\(name.prefix(100))' of its zip archive"
    var sizes = [record.littleEndian(at: 24, 4), record.littleEndian(at: 20, 4), record.littleEndian(at: 42, 4)]
    try Self.widen(&sizes, extra: record[(46 + nameLength)..<(46 + nameLength + extraLength)])
    let method = Method(number: record.littleEndian(at: 10, 2))
    guard method != .stored || sizes[0] == sizes[1] else { throw FeatureFault("\(title) has two sizes") }
    let head = try file.bytes(at: sizes[2], count: 30, title)
    guard head.littleEndian(at: 0, 4) == 0x0403_4B50, head.littleEndian(at: 26, 2) == nameLength,
      head.littleEndian(at: 8, 2) == record.littleEndian(at: 10, 2),
      try file.bytes(at: sizes[2] + 30, count: nameLength, title).elementsEqual(nameBytes)
    else { throw FeatureFault("\(title) is not where its directory says") }
    // Sizes before the contents are those of whoever could not go back to write them: not looked at.
    let data = sizes[2] + 30 + nameLength + head.littleEndian(at: 28, 2)
    guard data <= limit, sizes[1] <= limit - data else { throw FeatureFault("\(title) is longer than the file") }
    let entry = Entry(
      name: name, method: method, isEncrypted: record.littleEndian(at: 8, 2) & 0x2041 != 0, dataOffset: data,
      packedByteCount: sizes[1], byteCount: sizes[0], crc32: UInt32(record.littleEndian(at: 16, 4)))
    guard places.updateValue(entries.count, forKey: name) == nil else {
      throw FeatureFault("its zip archive has two entries '\(name.prefix(100))'")
    }
    entries.append(entry)
  }

  /// Puts 64-bit numbers in the place of those that 32 bits do not hold.
  private static func widen(_ sizes: inout [Int], extra: ArraySlice<UInt8>) throws(FeatureFault) {
    guard sizes.contains(0xFFFF_FFFF) else { return }
    var rest = extra
    while rest.count >= 4 {
      let (kind, length) = (rest.littleEndian(at: 0, 2), rest.littleEndian(at: 2, 2))
      guard length <= rest.count - 4 else { break }
      var field = rest.dropFirst(4).prefix(length)
      rest = rest.dropFirst(4 + length)
      guard kind == 1 else { continue }
      for index in sizes.indices where sizes[index] == 0xFFFF_FFFF {
        guard field.count >= 8, let value = field.littleEndian64(at: 0) else {
          throw FeatureFault("its zip64 directory is damaged")
        }
        sizes[index] = value
        field = field.dropFirst(8)
      }
      return
    }
    throw FeatureFault("its zip64 directory is damaged")
  }

  /// The CRC-32 of bytes, as zip computes it.
  static func crc32(_ bytes: [UInt8]) -> UInt32 {
    unsafe bytes.withUnsafeBytes { unsafe czip_crc32(0, $0.baseAddress, $0.count) }
  }
}
