// `.safetensors` with one tensor: the length of the header, 64 bits; the header,
// JSON; the elements.
// Format: https://github.com/huggingface/safetensors#format.

internal import Base
internal import Foundation

enum SafetensorsReader: FeatureReader {
  static let extensions = ["safetensors"]
  static let fixedByteCounts: (header: Int, gap: Int)? = nil

  /// What the format allows.
  private static let maximumHeaderByteCount = 100_000_000

  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead? {
    guard start.count >= 8 else { return nil }
    guard let length = start.littleEndian64(at: 0), (2...maximumHeaderByteCount).contains(length) else {
      throw FeatureFault("it does not begin with the length of a .safetensors header")
    }
    guard length <= FeatureHead.maximumByteCount - 8 else {
      throw FeatureFault(
        "its header has \(length) bytes; tarn reads up to \(FeatureHead.maximumByteCount - 8)",
        hint: "save it with less metadata")
    }
    // A brace comes first by definition.
    guard start.count == 8 || start[8] == 0x7B else { throw FeatureFault("its header is not JSON") }
    guard start.count >= 8 + length else { return nil }
    return FeatureHead(try layout(start[8..<(8 + length)]))
  }

  /// How deep brackets lie in each other in JSON, those in texts aside.
  private static func depth(of text: ArraySlice<UInt8>) -> Int {
    var (depth, most, isText, isEscaped) = (0, 0, false, false)
    for byte in text {
      if isEscaped {
        isEscaped = false
      } else if isText {
        isEscaped = byte == 0x5C
        isText = byte != 0x22
      } else if byte == 0x22 {
        isText = true
      } else if byte == 0x7B || byte == 0x5B {
        depth += 1
        most = max(most, depth)
      } else if byte == 0x7D || byte == 0x5D {
        depth -= 1
      }
    }
    return most
  }

  private static func layout(_ text: ArraySlice<UInt8>) throws(FeatureFault) -> FeatureLayout {
    // A tensor's shape lies three deep; who parses recurses.
    guard depth(of: text) <= 8, let header = (try? JSONSerialization.jsonObject(with: Data(text))) as? [String: Any]
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
    case "F64": elementType = .float64
    case "BF16": elementType = .bfloat16
    case "U8": elementType = .uint8
    case "I8": elementType = .int8
    default:
      throw FeatureFault(
        "its dtype is \(dtype.prefix(12).printableASCII); tarn reads F16, F32, F64, BF16, U8 and I8")
    }
    let layout = try FeatureLayout(elementType, shape: shape, dataOffset: 8 + text.count)
    guard offsets[0] == 0, offsets[1] == layout.dataByteCount else {
      throw FeatureFault("its data_offsets do not fit its shape")
    }
    return layout
  }
}
