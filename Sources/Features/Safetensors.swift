// `.safetensors` with one tensor: the length of the header, 64 bits; the header,
// JSON; the elements.
// Format: https://github.com/huggingface/safetensors#format.

internal import Base
internal import Foundation

enum SafetensorsReader: FeatureReader {
  static let extensions = ["safetensors"]
  static let fixedByteCounts: (header: Int, gap: Int)? = nil

  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead? {
    guard start.count >= 8 else { return nil }
    guard let length = start.littleEndian64(at: 0), (2...(FeatureHead.maximumByteCount - 8)).contains(length) else {
      throw FeatureFault("it does not begin with the length of a .safetensors header")
    }
    // A brace comes first by definition.
    guard start.count == 8 || start[8] == 0x7B else { throw FeatureFault("its header is not JSON") }
    guard start.count >= 8 + length else { return nil }
    return FeatureHead(try layout(start[8..<(8 + length)]))
  }

  private static func layout(_ text: ArraySlice<UInt8>) throws(FeatureFault) -> FeatureLayout {
    // What is inside is flat but for lists of numbers.
    guard text.reduce(0, { $0 + ($1 == 0x7B || $1 == 0x5B ? 1 : 0) }) <= 4096,
      let header = (try? JSONSerialization.jsonObject(with: Data(text))) as? [String: Any]
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
    let layout = try FeatureLayout(elementType, shape: shape, dataOffset: 8 + text.count)
    guard offsets[0] == 0, offsets[1] == layout.dataByteCount else {
      throw FeatureFault("its data_offsets do not fit its shape")
    }
    return layout
  }
}
