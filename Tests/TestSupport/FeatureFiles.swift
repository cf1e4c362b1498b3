// Feature files of the other formats, byte by byte: good ones, and the parts to
// make bad ones of.

/// Little-endian bytes of a number.
package func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
  (0..<Value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

package func bytes(_ values: [Float]) -> [UInt8] { values.flatMap { bytes($0.bitPattern) } }

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

  package static func npy(
    _ descr: String = "<f4", shape: String = "(2, 3)", _ data: [UInt8] = bytes(FeatureFiles.values)
  ) -> [UInt8] {
    let text = "{'descr': '\(descr)', 'fortran_order': False, 'shape': \(shape), }\n"
    return [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0] + bytes(UInt16(text.utf8.count))
      + Array(text.utf8) + data
  }

  package static func npz(_ arrays: [(name: String, data: [UInt8])]? = nil, change: (inout ZipMaker) -> Void = { _ in })
    -> [UInt8]
  {
    var zip = ZipMaker()
    zip.entries = (arrays ?? [("emb", npy())]).map { ($0.name + ".npy", $0.data) }
    change(&zip)
    return zip.archive()
  }

  package static func parquet() -> [UInt8] { ParquetMaker.lists(values, dimension: 3).file() }

  /// Each format's extension and a good file.
  package static var all: [(name: String, bytes: [UInt8])] {
    [
      ("pt", torch()), ("safetensors", safetensors()), ("fbin", fbin()), ("fvecs", fvecs()),
      ("npy", npy()), ("npz", npz()), ("parquet", parquet()),
    ]
  }
}
