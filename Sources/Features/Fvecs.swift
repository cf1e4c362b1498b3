// `.fvecs` and `.bvecs`: rows of one type, each behind its dimension; only the length of
// the file says how many there are.
// Format: http://corpus-texmex.irisa.fr.

internal import Base

/// A format of rows behind their dimensions.
protocol VecsReader: FeatureReader {
  static var elementType: ElementType { get }
}

extension VecsReader {
  static var fixedByteCounts: (header: Int, gap: Int)? { (0, 4) }

  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead? {
    guard start.count >= 4 else { return nil }
    let dimension = start.littleEndian(at: 0, 4)
    guard (1...1 << 20).contains(dimension) else {
      throw FeatureFault("its first row says it has \(dimension) elements")
    }
    guard let byteCount else {
      throw FeatureFault("nobody says how long it is, and a file of this format does not at its start")
    }
    let stride = 4 + dimension * elementType.byteCount
    guard byteCount % stride == 0 else {
      throw FeatureFault(
        "\(byteCount) bytes are no whole rows of \(dimension) elements; it is truncated or no .\(extensions[0]) file")
    }
    return FeatureHead(
      try FeatureLayout(elementType, shape: [byteCount / stride, dimension], dataOffset: 4, gapByteCount: 4))
  }
}

enum FvecsReader: VecsReader {
  static let extensions = ["fvecs"]
  static let elementType = ElementType.float32
}

enum BvecsReader: VecsReader {
  static let extensions = ["bvecs"]
  static let elementType = ElementType.uint8
}
