// The directory of a zip archive, as far as `torch.save` uses the format: its
// entries are stored as they are. Whatever is compressed, encrypted, repeated
// or outside the file is refused, so nothing can unfold.
// Format: APPNOTE.TXT 6.3, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT

/// The entries of an archive by their names.

internal import Base
struct ZipDirectory {
  /// Bytes of the file that are an entry's contents.
  struct Entry: Equatable {
    let dataOffset: Int
    let byteCount: Int
    let crc32: UInt32
  }

  private(set) var entries: [String: Entry] = [:]

  private static let maximumEntryCount = 4096
  private static let maximumByteCount = 1 << 20

  /// Reads the directory at the end of a file.
  ///
  /// - Parameter file: The file.
  /// - Throws: ``FeatureFault`` for an archive that `torch.save` does not
  ///   write; ``TarnError`` `.io`.
  init(_ file: UntrustedFile) throws {
    let (offset, byteCount, count) = try Self.locate(file)
    guard count <= Self.maximumEntryCount, byteCount <= Self.maximumByteCount else {
      throw FeatureFault("its zip directory lists \(count) entries in \(byteCount) bytes; torch.save writes a few")
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
    let places = entries.values.sorted { $0.dataOffset < $1.dataOffset }
    for (left, right) in zip(places, places.dropFirst()) where left.dataOffset + left.byteCount > right.dataOffset {
      throw FeatureFault("entries of its zip archive overlap")
    }
  }

  /// Where the directory is: from the last record of the file, or the 64-bit
  /// one that this points to.
  private static func locate(_ file: UntrustedFile) throws -> (offset: Int, byteCount: Int, count: Int) {
    let start = try file.bytes(at: 0, count: min(4, file.byteCount), "its first bytes")
    guard start.count == 4, start.littleEndian(at: 0, 4) == 0x0403_4B50 else {
      if start.first == 0x80 {
        throw FeatureFault("it is a pickle without an archive; save it again with torch.save of PyTorch 1.6 or later")
      }
      throw FeatureFault("it is not a zip archive as torch.save writes it")
    }
    // torch.save leaves no comment, so the last record ends the file.
    guard file.byteCount >= 22 else { throw FeatureFault("its zip archive has no end; it is truncated") }
    let end = try file.bytes(at: file.byteCount - 22, count: 22, "its end")
    guard end.littleEndian(at: 0, 4) == 0x0605_4B50 else {
      throw FeatureFault("its zip archive has no end; it is truncated")
    }
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
    let name = String(decoding: nameBytes, as: UTF8.self)
    guard nameBytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != 0x5C }), !name.hasPrefix("/"), !name.isEmpty,
      !name.split(separator: "/").contains("..")
    else { throw FeatureFault("its zip archive has an entry named '\(name.prefix(60).printableASCII)'") }
    guard record.littleEndian(at: 10, 2) == 0 else {
      throw FeatureFault("entry '\(name)' of its zip archive is compressed; torch.save stores entries as they are")
    }
    guard record.littleEndian(at: 8, 2) & 0x2041 == 0 else {
      throw FeatureFault("entry '\(name)' of its zip archive is encrypted")
    }
    var sizes = [record.littleEndian(at: 24, 4), record.littleEndian(at: 20, 4), record.littleEndian(at: 42, 4)]
    try Self.widen(&sizes, extra: record[(46 + nameLength)..<(46 + nameLength + extraLength)])
    guard sizes[0] == sizes[1] else { throw FeatureFault("entry '\(name)' of its zip archive has two sizes") }
    let head = try file.bytes(at: sizes[2], count: 30, "entry '\(name)'")
    let data = sizes[2] + 30 + head.littleEndian(at: 26, 2) + head.littleEndian(at: 28, 2)
    guard head.littleEndian(at: 0, 4) == 0x0403_4B50, head.littleEndian(at: 26, 2) == nameLength,
      try file.bytes(at: sizes[2] + 30, count: nameLength, "entry '\(name)'").elementsEqual(nameBytes)
    else { throw FeatureFault("entry '\(name)' of its zip archive is not where its directory says") }
    guard data <= limit, sizes[0] <= limit - data else {
      throw FeatureFault("entry '\(name)' of its zip archive is longer than the file")
    }
    let entry = Entry(dataOffset: data, byteCount: sizes[0], crc32: UInt32(record.littleEndian(at: 16, 4)))
    guard entries.updateValue(entry, forKey: name) == nil else {
      throw FeatureFault("its zip archive has two entries '\(name)'")
    }
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
    var crc = ~UInt32(0)
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    return ~crc
  }
}
