// Feature files of the other formats, byte by byte: good ones, and the parts to
// make bad ones of.

/// Little-endian bytes of a number.
package func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
  (0..<Value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

package func bytes(_ values: [Float]) -> [UInt8] { values.flatMap { bytes($0.bitPattern) } }

/// A zip archive with stored entries, as `torch.save` writes it.
package struct ZipMaker {
  package var entries: [(name: String, data: [UInt8])] = []
  package var method: UInt16 = 0
  package var flags: UInt16 = 0
  /// Written in place of the sizes of every entry in the directory.
  package var claimedByteCount: UInt32?
  /// Padding of each local header, which aligns the data.
  package var padding = 11

  /// The CRC-32 of bytes, as zip computes it.
  private static func crc32(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~UInt32(0)) { crc, byte in
      (0..<8).reduce(crc ^ UInt32(byte)) { crc, _ in crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
  }

  package init() {}

  package func archive() -> [UInt8] {
    var file: [UInt8] = []
    var directory: [UInt8] = []
    for (name, data) in entries {
      let offset = UInt32(file.count)
      let crc = Self.crc32(data)
      let size = claimedByteCount ?? UInt32(data.count)
      let common =
        bytes(flags) + bytes(method) + bytes(UInt32(0)) + bytes(crc) + bytes(size) + bytes(size)
        + bytes(UInt16(name.utf8.count))
      file +=
        bytes(UInt32(0x0403_4B50)) + bytes(UInt16(0)) + common + bytes(UInt16(padding))
        + Array(name.utf8)
      file += [UInt8](repeating: 0x5A, count: padding) + data
      directory +=
        bytes(UInt32(0x0201_4B50)) + bytes(UInt32(0)) + common + bytes(UInt16(0)) + bytes(UInt16(0))
      directory += [UInt8](repeating: 0, count: 8) + bytes(offset) + Array(name.utf8)
    }
    let end =
      bytes(UInt32(0x0605_4B50)) + bytes(UInt32(0)) + bytes(UInt16(entries.count))
      + bytes(UInt16(entries.count))
      + bytes(UInt32(directory.count)) + bytes(UInt32(file.count)) + bytes(UInt16(0))
    return file + directory + end
  }
}

/// The pickle of a tensor, as PyTorch writes it with protocol 2.
package struct PickleMaker {
  package var storage = "HalfStorage"
  package var key = "0"
  package var count = 6
  package var offset = 0
  package var shape = [2, 3]
  package var strides = [3, 1]

  private func text(_ string: String) -> [UInt8] {
    [0x58] + bytes(UInt32(string.utf8.count)) + Array(string.utf8)
  }

  private func integer(_ value: Int) -> [UInt8] {
    (0..<256).contains(value)
      ? [0x4B, UInt8(value)]
      : value == Int(Int32(truncatingIfNeeded: value))
        ? [0x4A] + bytes(Int32(value)) : [0x8A, 8] + bytes(Int64(value))
  }

  private func global(_ module: String, _ name: String) -> [UInt8] {
    [0x63] + Array("\(module)\n\(name)\n".utf8)
  }

  package init() {}

  package func pickle() -> [UInt8] {
    var program: [UInt8] = [0x80, 2]
    program += global("torch._utils", "_rebuild_tensor_v2") + [0x71, 0, 0x28, 0x28]
    program += text("storage") + [0x71, 1] + global("torch", storage) + [0x71, 2]
    program +=
      text(key) + [0x71, 3] + text("cpu") + [0x71, 4] + integer(count) + [0x74, 0x71, 5, 0x51]
    program += integer(offset)
    program += [0x28] + shape.flatMap(integer) + [0x74, 0x71, 6]
    program += [0x28] + strides.flatMap(integer) + [0x74, 0x71, 7]
    program +=
      [0x89] + global("collections", "OrderedDict") + [
        0x71, 8, 0x29, 0x52, 0x71, 9, 0x74, 0x71, 10, 0x52,
      ]
    return program + [0x71, 11, 0x2E]
  }
}

/// Good files of each format, `[2 × 3]`, rows 1, 2, 3 and 4, 5, 6.
package enum FeatureFiles {
  package static let values: [Float] = [1, 2, 3, 4, 5, 6]

  package static func torch(
    _ pickle: [UInt8] = PickleMaker().pickle(), data: [UInt8]? = nil,
    change: (inout ZipMaker) -> Void = { _ in }
  ) -> [UInt8] {
    let halves = data ?? values.flatMap { bytes(Float16($0).bitPattern) }
    var zip = ZipMaker()
    zip.entries = [
      ("clip/data.pkl", pickle), ("clip/byteorder", Array("little".utf8)), ("clip/data/0", halves),
      ("clip/version", Array("3\n".utf8)),
    ]
    change(&zip)
    return zip.archive()
  }

  package static func safetensors(_ header: String? = nil, data: [UInt8] = bytes(FeatureFiles.values)) -> [UInt8] {
    let text =
      header
      ?? #"{"__metadata__":{"made":"by hand"},"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#
    return bytes(UInt64(text.utf8.count)) + Array(text.utf8) + data
  }

  package static func fbin(rows: UInt32 = 2, dimension: UInt32 = 3) -> [UInt8] {
    bytes(rows) + bytes(dimension) + bytes(values)
  }

  package static func fvecs(second: UInt32 = 3) -> [UInt8] {
    bytes(UInt32(3)) + bytes([1, 2, 3]) + bytes(second) + bytes([4, 5, 6])
  }

  package static func npy() -> [UInt8] {
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
    return [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0] + bytes(UInt16(text.utf8.count))
      + Array(text.utf8) + bytes(values)
  }

  /// Each format's extension and a good file.
  package static var all: [(name: String, bytes: [UInt8])] {
    [
      ("pt", torch()), ("safetensors", safetensors()), ("fbin", fbin()), ("fvecs", fvecs()),
      ("npy", npy()),
    ]
  }
}
