// `.fbin` and its like: rows and dimension, 32 bits each, then rows of one type.
// Format: https://big-ann-benchmarks.com/neurips21.html; `.f16bin` as cuVS writes it.

internal import Base

/// A format of two counts and rows.
protocol BinReader: FeatureReader {
  static var elementType: ElementType { get }
}

extension BinReader {
  static var fixedByteCounts: (header: Int, gap: Int)? { (8, 0) }

  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead? {
    guard start.count >= 8 else { return nil }
    let shape = [start.littleEndian(at: 0, 4), start.littleEndian(at: 4, 4)]
    return FeatureHead(try FeatureLayout(elementType, shape: shape, dataOffset: 8))
  }
}

enum FbinReader: BinReader {
  static let extensions = ["fbin"]
  static let elementType = ElementType.float32
}

enum F16binReader: BinReader {
  static let extensions = ["f16bin"]
  static let elementType = ElementType.float16
}

enum U8binReader: BinReader {
  static let extensions = ["u8bin"]
  static let elementType = ElementType.uint8
}

enum I8binReader: BinReader {
  static let extensions = ["i8bin"]
  static let elementType = ElementType.int8
}
