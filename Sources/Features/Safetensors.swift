// `.safetensors`: the length of the header, 64 bits; the header, JSON, which has the tensors by
// their names; their elements, one tensor's behind the other's. One of them is read.
// Format: https://github.com/huggingface/safetensors#format.

internal import Base
internal import Foundation

enum SafetensorsReader: FeatureReader {
  static let extensions = ["safetensors"]
  static let holdsArrays = true
  static let fixedByteCounts: (header: Int, gap: Int)? = nil

  /// A tensor as the header describes it.
  private struct Tensor {
    let name: String
    let dtype: String
    let shape: [Int]
    /// Where its elements are, behind the header.
    let place: Range<Int>

    /// Whether it holds no features, however it is read.
    var isNoMatrix: Bool { shape.count != 2 || dtype == "BOOL" }
  }

  /// What a header says.
  private struct Header {
    /// Bytes before the first element.
    let dataOffset: Int
    /// One behind the other.
    let tensors: [Tensor]

    var fileByteCount: Int { dataOffset + (tensors.last?.place.upperBound ?? 0) }
  }

  /// What the format allows.
  private static let maximumHeaderByteCount = 100_000_000

  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead? {
    guard let header = try header(start) else { return nil }
    // Of several tensors a source says which one it reads, and of that one alone the rows are its rows.
    guard header.tensors.count == 1 else { return FeatureHead(fileByteCount: header.fileByteCount) }
    return FeatureHead(try layout(of: header.tensors[0], in: header))
  }

  static func content(of file: UntrustedFile, array: String?, dimension: Int?) throws -> FeatureContent {
    let found = try beginning(of: file) { try header($0) }
    let tensor = try chosen(array, of: found.tensors)
    let layout = try layout(of: tensor, in: found)
    let isAlone = found.tensors.count == 1
    let whole = isAlone ? layout.description : "the whole of its \(found.tensors.count) tensors"
    try requireLength(of: file, found.fileByteCount, for: whole)
    return FeatureContent(layout: layout, isInPlace: true, decoder: nil, fillsFile: isAlone)
  }

  /// The tensor of a name, or the only one that can hold features.
  private static func chosen(_ array: String?, of tensors: [Tensor]) throws(FeatureFault) -> Tensor {
    let names = tensors.map(\.name)
    if let array {
      guard let place = names.firstIndex(of: array) else { throw FeatureFault.noArray(array, of: names) }
      return tensors[place]
    }
    if tensors.count == 1 { return tensors[0] }
    let found = tensors.filter { !$0.isNoMatrix }
    guard found.count == 1 else { throw FeatureFault.noChoice(of: names) }
    return found[0]
  }

  /// Reads a header; nil if more bytes are needed.
  private static func header(_ start: [UInt8]) throws(FeatureFault) -> Header? {
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
    return Header(dataOffset: 8 + length, tensors: try tensors(start[8..<(8 + length)]))
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

  /// The tensors of a header's text, in the order of their elements, which leave nothing between them.
  private static func tensors(_ text: ArraySlice<UInt8>) throws(FeatureFault) -> [Tensor] {
    // A tensor's shape lies three deep; who parses recurses.
    guard depth(of: text) <= 8, let header = (try? JSONSerialization.jsonObject(with: Data(text))) as? [String: Any]
    else { throw FeatureFault("its header is not the JSON of a .safetensors file") }
    var tensors: [Tensor] = []
    for (name, value) in header where name != metadata {
      guard let tensor = value as? [String: Any], let dtype = tensor["dtype"] as? String,
        let shape = tensor["shape"] as? [Int], let offsets = tensor["data_offsets"] as? [Int], offsets.count == 2
      else { throw FeatureFault("its header lacks dtype, shape or data_offsets") }
      guard offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] <= 1 << 56 else { throw misplaced }
      tensors.append(Tensor(name: name, dtype: dtype, shape: shape, place: offsets[0]..<offsets[1]))
    }
    guard !tensors.isEmpty else { throw FeatureFault("it holds no tensors") }
    // Of those without elements several may be at one place: by their names, as a dictionary has no order.
    tensors.sort { first, second in
      let (one, other) = (first.place, second.place)
      return (one.lowerBound, one.upperBound, first.name) < (other.lowerBound, other.upperBound, second.name)
    }
    var end = 0
    for tensor in tensors {
      guard tensor.place.lowerBound == end else { throw misplaced }
      end = tensor.place.upperBound
    }
    return tensors
  }

  /// The name in a header that no tensor has.
  static let metadata = "__metadata__"

  private static var misplaced: FeatureFault { FeatureFault("its data_offsets do not fit its shape") }

  private static func layout(of tensor: Tensor, in header: Header) throws(FeatureFault) -> FeatureLayout {
    let elementType: ElementType
    switch tensor.dtype {
    case "F16": elementType = .float16
    case "F32": elementType = .float32
    case "F64": elementType = .float64
    case "BF16": elementType = .bfloat16
    case "U8": elementType = .uint8
    case "I8": elementType = .int8
    default:
      throw FeatureFault(
        "its dtype is \(tensor.dtype.prefix(12).printableASCII); tarn reads F16, F32, F64, BF16, U8 and I8")
    }
    let layout = try FeatureLayout(
      elementType, shape: tensor.shape, dataOffset: header.dataOffset + tensor.place.lowerBound)
    guard tensor.place.count == layout.dataByteCount else { throw misplaced }
    return layout
  }
}
