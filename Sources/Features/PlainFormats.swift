// The feature formats without a language of their own: .safetensors, .fbin,
// .fvecs. Nothing is allocated for a length that the file does not have.

internal import Base
internal import Foundation

extension FeatureLayout {
  /// The most bytes of a `.safetensors` header that are looked at.
  private static let maximumHeaderByteCount = 1 << 20

  /// Reads the header of a `.safetensors` file with one tensor.
  ///
  /// Format: https://github.com/huggingface/safetensors#format: the length of
  /// the header, 64 bits; the header, JSON; the elements.
  ///
  /// - Parameter file: The file.
  /// - Returns: Where its one matrix is; it fills the file.
  /// - Throws: ``FeatureFault`` for anything else; ``TarnError`` `.io`.
  static func safetensors(_ file: UntrustedFile) throws -> FeatureLayout {
    let start = try file.bytes(at: 0, count: 8, "the length of its header")
    guard let length = start.littleEndian64(at: 0), (2...maximumHeaderByteCount).contains(length) else {
      throw FeatureFault("it does not begin with the length of a .safetensors header")
    }
    let text = try file.bytes(at: 8, count: length, "its header")
    // A brace comes first by definition; what is inside is flat but for lists of numbers.
    guard text.first == 0x7B, text.reduce(0, { $0 + ($1 == 0x7B || $1 == 0x5B ? 1 : 0) }) <= 4096,
      let header = try? JSONSerialization.jsonObject(with: Data(text)) as? [String: Any]
    else { throw FeatureFault("its header is not the JSON of a .safetensors file") }
    let tensors = header.filter { $0.key != "__metadata__" }
    guard tensors.count == 1, let tensor = tensors.values.first as? [String: Any] else {
      throw FeatureFault("it holds \(tensors.count) tensors; tarn reads files with one")
    }
    guard let dtype = tensor["dtype"] as? String, let shape = tensor["shape"] as? [Int],
      let offsets = tensor["data_offsets"] as? [Int], offsets.count == 2
    else { throw FeatureFault("its header lacks dtype, shape or data_offsets") }
    let elementType: ElementType
    switch dtype {
    case "F16": elementType = .float16
    case "F32": elementType = .float32
    default: throw FeatureFault("its dtype is \(dtype.prefix(12).printableASCII); tarn reads F16 and F32")
    }
    let layout = try FeatureLayout(elementType, shape: shape, dataOffset: 8 + length)
    guard offsets[0] == 0, offsets[1] == layout.dataByteCount else {
      throw FeatureFault("its data_offsets do not fit its shape")
    }
    try layout.requireWholeFile(file)
    return layout
  }

  /// Reads the header of an `.fbin` file: rows and dimension, 32 bits each.
  ///
  /// Format: https://big-ann-benchmarks.com/neurips21.html.
  ///
  /// - Parameter file: The file.
  /// - Returns: Where its matrix is; it fills the file.
  /// - Throws: ``FeatureFault`` for anything else; ``TarnError`` `.io`.
  static func fbin(_ file: UntrustedFile) throws -> FeatureLayout {
    let start = try file.bytes(at: 0, count: 8, "its header")
    let shape = [start.littleEndian(at: 0, 4), start.littleEndian(at: 4, 4)]
    let layout = try FeatureLayout(.float32, shape: shape, dataOffset: 8)
    try layout.requireWholeFile(file)
    return layout
  }

  /// Reads the first dimension of an `.fvecs` file; the length says the rest.
  ///
  /// Format: http://corpus-texmex.irisa.fr.
  ///
  /// - Parameter file: The file, with at least one row.
  /// - Returns: Where its rows are.
  /// - Throws: ``FeatureFault`` for anything else; ``TarnError`` `.io`.
  static func fvecs(_ file: UntrustedFile) throws -> FeatureLayout {
    let dimension = try file.bytes(at: 0, count: 4, "the dimension of its first row").littleEndian(at: 0, 4)
    guard (1...1 << 20).contains(dimension) else {
      throw FeatureFault("its first row says it has \(dimension) elements")
    }
    let stride = 4 + 4 * dimension
    guard file.byteCount % stride == 0 else {
      throw FeatureFault(
        "\(file.byteCount) bytes are no whole rows of \(dimension) elements; it is truncated or no .fvecs file")
    }
    return try FeatureLayout(.float32, shape: [file.byteCount / stride, dimension], dataOffset: 4, gapByteCount: 4)
  }

  private func requireWholeFile(_ file: UntrustedFile) throws(FeatureFault) {
    let wanted = dataOffset + dataByteCount
    guard file.byteCount == wanted else {
      throw FeatureFault(
        "it has \(file.byteCount) bytes; [\(rowCount) x \(dimension)] \(elementType) needs \(wanted)")
    }
  }
}
