// `.fvecs`: float32 rows, each behind its dimension; only the length of the file
// says how many there are.
// Format: http://corpus-texmex.irisa.fr.

internal import Base

enum FvecsReader: FeatureReader {
  static let extensions = ["fvecs"]
  static let fixedByteCounts: (header: Int, gap: Int)? = (0, 4)

  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead? {
    guard start.count >= 4 else { return nil }
    let dimension = start.littleEndian(at: 0, 4)
    guard (1...1 << 20).contains(dimension) else {
      throw FeatureFault("its first row says it has \(dimension) elements")
    }
    guard let byteCount else {
      throw FeatureFault("nobody says how long it is, and a file of this format does not at its start")
    }
    let stride = 4 + 4 * dimension
    guard byteCount % stride == 0 else {
      throw FeatureFault(
        "\(byteCount) bytes are no whole rows of \(dimension) elements; it is truncated or no .fvecs file")
    }
    return FeatureHead(
      try FeatureLayout(.float32, shape: [byteCount / stride, dimension], dataOffset: 4, gapByteCount: 4))
  }
}
