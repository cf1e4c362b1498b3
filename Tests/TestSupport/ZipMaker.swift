// Zip archives, byte by byte: good ones, and the parts to make bad ones of.

/// A zip archive with stored entries, as `torch.save` writes it, unless it is changed.
package struct ZipMaker {
  package var entries: [(name: String, data: [UInt8])] = []
  package var method: UInt16 = 0
  package var flags: UInt16 = 0
  /// Makes the bytes in the file of those of an entry.
  package var pack: ([UInt8]) -> [UInt8] = { $0 }
  /// Written in place of the sizes of every entry in the directory.
  package var claimedByteCount: UInt32?
  /// Written in place of the size of what an entry unpacks to.
  package var claimedUnpacked: UInt32?
  /// Added to the CRC of every entry.
  package var spoiledCRC: UInt32 = 0
  /// Padding of each local header, which aligns the data.
  package var padding = 11
  /// Sizes and CRC behind the data, as who cannot go back writes them.
  package var hasDescriptors = false
  /// Sizes and offsets in 64 bits, everywhere.
  package var isZip64 = false

  /// The CRC-32 of bytes, as zip computes it.
  package static func crc32(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~UInt32(0)) { crc, byte in
      (0..<8).reduce(crc ^ UInt32(byte)) { crc, _ in crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
  }

  package init() {}

  package func archive() -> [UInt8] {
    var file: [UInt8] = []
    var directory: [UInt8] = []
    for (name, data) in entries {
      let packed = pack(data)
      let offset = file.count
      let crc = Self.crc32(data) &+ spoiledCRC
      let (size, unpacked) = (
        claimedByteCount ?? UInt32(packed.count), claimedByteCount ?? claimedUnpacked ?? UInt32(data.count)
      )
      let start = bytes(flags | (hasDescriptors ? 8 : 0)) + bytes(method) + bytes(UInt32(0))
      let nameCount = bytes(UInt16(name.utf8.count))
      let large = bytes(UInt64(unpacked)) + bytes(UInt64(size))
      let sizes = isZip64 ? bytes(UInt64.max) : bytes(size) + bytes(unpacked)
      let extra = isZip64 ? bytes(UInt16(1)) + bytes(UInt16(16)) + large : [UInt8](repeating: 0x5A, count: padding)
      file += bytes(UInt32(0x0403_4B50)) + bytes(UInt16(0)) + start
      file += hasDescriptors ? [UInt8](repeating: 0, count: 12) : bytes(crc) + sizes
      file += nameCount + bytes(UInt16(extra.count)) + Array(name.utf8) + extra + packed
      if hasDescriptors { file += bytes(UInt32(0x0807_4B50)) + bytes(crc) + bytes(size) + bytes(unpacked) }
      let directoryExtra =
        isZip64 ? bytes(UInt16(1)) + bytes(UInt16(24)) + large + bytes(UInt64(offset)) : []
      directory +=
        bytes(UInt32(0x0201_4B50)) + bytes(UInt32(0)) + start + bytes(crc) + sizes + nameCount
        + bytes(UInt16(directoryExtra.count)) + [UInt8](repeating: 0, count: 10)
        + bytes(isZip64 ? UInt32.max : UInt32(offset)) + Array(name.utf8) + directoryExtra
    }
    let (start, count) = (file.count, UInt64(entries.count))
    var end: [UInt8] = []
    if isZip64 {
      end += bytes(UInt32(0x0606_4B50)) + bytes(UInt64(44)) + bytes(UInt32(0x2D_002D)) + bytes(UInt64(0))
      end += bytes(count) + bytes(count) + bytes(UInt64(directory.count)) + bytes(UInt64(start))
      end += bytes(UInt32(0x0706_4B50)) + bytes(UInt32(0)) + bytes(UInt64(start + directory.count)) + bytes(UInt32(1))
    }
    end += bytes(UInt32(0x0605_4B50)) + bytes(UInt32(0))
    end +=
      isZip64
      ? [UInt8](repeating: 0xFF, count: 12)
      : bytes(UInt16(count)) + bytes(UInt16(count))
        + bytes(UInt32(directory.count)) + bytes(UInt32(start))
    return file + directory + end + bytes(UInt16(0))
  }
}

/// Deflated streams that need no compressor.
package enum Deflate {
  /// The bytes in blocks that are stored.
  package static func stored(_ data: [UInt8], block: Int = 65_535) -> [UInt8] {
    let starts = data.isEmpty ? [0] : Array(stride(from: 0, to: data.count, by: block))
    return starts.flatMap { start in
      let piece = data[start..<min(start + block, data.count)]
      let count = UInt16(piece.count)
      return [start + block >= data.count ? 1 : 0] + bytes(count) + bytes(~count) + piece
    }
  }

  /// The bytes in one block of fixed codes, and behind them their last one, `258 × runs` of
  /// them in few bits.
  package static func fixed(_ data: [UInt8], runs: Int = 0) -> [UInt8] {
    var bits = BitWriter()
    // A block of fixed codes: https://www.rfc-editor.org/rfc/rfc1951#section-3.2.6.
    bits.write(1, 1)
    bits.write(1, 2)
    for byte in data {
      byte < 144 ? bits.code(0x30 + Int(byte), 8) : bits.code(0x190 + Int(byte) - 144, 9)
    }
    // Length 258 at distance 1.
    for _ in 0..<runs {
      bits.code(0xC0 + 285 - 280, 8)
      bits.code(0, 5)
    }
    bits.code(0, 7)
    return bits.bytes
  }

  private struct BitWriter {
    private(set) var bytes: [UInt8] = []
    private var used = 8

    mutating func write(_ value: Int, _ count: Int) {
      for bit in 0..<count {
        if used == 8 {
          bytes.append(0)
          used = 0
        }
        if value >> bit & 1 == 1 { bytes[bytes.count - 1] |= 1 << UInt8(used) }
        used += 1
      }
    }

    /// A code, its highest bit first.
    mutating func code(_ value: Int, _ count: Int) {
      for bit in (0..<count).reversed() { write(value >> bit & 1, 1) }
    }
  }
}
