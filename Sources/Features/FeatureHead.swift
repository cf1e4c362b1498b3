// What the first bytes of a feature file say of the whole, in any format: enough
// to end a transfer of something else before its rows come. The readers of whole
// files are the Indexer's.

package import Base
internal import Foundation

/// The beginning of a feature file.
package struct FeatureHead: Sendable, Equatable {
  /// Nil where only the end of the file tells.
  package let elementType: ElementType?
  package let dimension: Int?
  package let rowCount: Int?
  /// Bytes of the whole file.
  package let fileByteCount: Int

  /// What the first bytes are, as far as they tell.
  package enum Prefix: Sendable, Equatable {
    case head(FeatureHead)
    /// Good so far, but more bytes are needed.
    case needsMore
    /// Not such a file: the cause, for an error message.
    case malformed(String)
  }

  /// The most bytes that are looked at.
  package static let maximumByteCount = 1 << 19

  /// Reads the beginning of a file.
  ///
  /// - Parameters:
  ///   - bytes: The file from its start, as much as there is.
  ///   - format: The format it must have.
  ///   - byteCount: Bytes of the whole file, if somebody said; formats whose
  ///     beginning does not tell need it.
  /// - Returns: What it says, or why it is no such file.
  package static func parse(_ bytes: [UInt8], of format: FeatureFormat, byteCount: Int?) -> Prefix {
    if format != .npy, let start = String(validating: bytes.prefix(9), as: UTF8.self)?.lowercased(),
      start.hasPrefix("<html") || start.hasPrefix("<!doctype")
    {
      return .malformed("it is an HTML page")
    }
    switch format {
    case .npy:
      switch NpyHeader.parse(bytes) {
      case .needs: return .needsMore
      case .malformed(let cause): return .malformed(cause)
      case .header(let header):
        return .head(
          FeatureHead(
            elementType: header.elementType, dimension: header.dimension, rowCount: header.rowCount,
            fileByteCount: header.fileByteCount))
      }
    case .fbin: return fbin(bytes)
    case .fvecs: return fvecs(bytes, byteCount)
    case .safetensors: return safetensors(bytes)
    case .torch:
      let magic: [UInt8] = [0x50, 0x4B, 3, 4]
      guard bytes.starts(with: magic.prefix(bytes.count)) else {
        return .malformed("it is not a zip archive as torch.save writes it")
      }
      guard bytes.count >= magic.count else { return .needsMore }
      return whole(byteCount, FeatureHead.init(ofByteCount:))
    }
  }

  private init(elementType: ElementType?, dimension: Int?, rowCount: Int?, fileByteCount: Int) {
    (self.elementType, self.dimension, self.rowCount) = (elementType, dimension, rowCount)
    self.fileByteCount = fileByteCount
  }

  private init(ofByteCount byteCount: Int) {
    self.init(elementType: nil, dimension: nil, rowCount: nil, fileByteCount: byteCount)
  }

  private static func whole(_ byteCount: Int?, _ head: (Int) -> FeatureHead?) -> Prefix {
    guard let byteCount else {
      return .malformed("nobody says how long it is, and a file of this format does not at its start")
    }
    return head(byteCount).map(Prefix.head) ?? .malformed("\(byteCount) bytes are no whole rows")
  }

  private static func fbin(_ bytes: [UInt8]) -> Prefix {
    guard bytes.count >= 8 else { return .needsMore }
    let (rows, columns) = (number(bytes[0..<4]), number(bytes[4..<8]))
    guard (1...1 << 20).contains(columns) else { return .malformed("its rows have \(columns) elements") }
    return .head(
      FeatureHead(
        elementType: .float32, dimension: columns, rowCount: rows, fileByteCount: 8 + 4 * rows * columns))
  }

  private static func fvecs(_ bytes: [UInt8], _ byteCount: Int?) -> Prefix {
    guard bytes.count >= 4 else { return .needsMore }
    let columns = number(bytes[0..<4])
    guard (1...1 << 20).contains(columns) else { return .malformed("its rows have \(columns) elements") }
    return whole(byteCount) { byteCount in
      FeatureFormat.fvecs.rowCount(ofByteCount: byteCount, dimension: columns, elementType: .float32).map {
        FeatureHead(elementType: .float32, dimension: columns, rowCount: $0, fileByteCount: byteCount)
      }
    }
  }

  private static func safetensors(_ bytes: [UInt8]) -> Prefix {
    guard bytes.count >= 8 else { return .needsMore }
    let length = number(bytes[0..<4])
    guard bytes[4..<8].allSatisfy({ $0 == 0 }), (2...(maximumByteCount - 8)).contains(length) else {
      return .malformed("it does not begin with the length of a .safetensors header")
    }
    guard bytes.count == 8 || bytes[8] == 0x7B else { return .malformed("its header is not JSON") }
    guard bytes.count >= 8 + length else { return .needsMore }
    struct Tensor: Decodable {
      let dtype: String
      let shape: [Int]
      let offsets: [Int]

      enum CodingKeys: String, CodingKey {
        case dtype, shape
        case offsets = "data_offsets"
      }
    }
    struct Entry: Decodable {
      let tensor: Tensor?
      init(from decoder: any Decoder) throws { tensor = try? Tensor(from: decoder) }
    }
    guard let entries = try? JSONDecoder().decode([String: Entry].self, from: Data(bytes[8..<(8 + length)])) else {
      return .malformed("its header is not the JSON of a .safetensors file")
    }
    let tensors = entries.filter { $0.key != "__metadata__" }
    guard tensors.count == 1, let tensor = tensors.values.first?.tensor, tensor.shape.count == 2,
      tensor.offsets.count == 2, tensor.offsets[0] == 0, (0...1 << 50).contains(tensor.offsets[1])
    else { return .malformed("it is not one matrix [rows x dimension]") }
    let elementType: ElementType? = ["F16": .float16, "F32": .float32][tensor.dtype]
    guard let elementType else { return .malformed("its elements are neither F16 nor F32") }
    return .head(
      FeatureHead(
        elementType: elementType, dimension: tensor.shape[1], rowCount: tensor.shape[0],
        fileByteCount: 8 + length + tensor.offsets[1]))
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reversed().reduce(0) { $0 << 8 | Int($1) } }
}
