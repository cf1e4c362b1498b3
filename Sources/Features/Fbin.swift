// `.fbin`: rows and dimension, 32 bits each, then float32 rows.
// Format: https://big-ann-benchmarks.com/neurips21.html.

internal import Base

enum FbinReader: FeatureReader {
  static let extensions = ["fbin"]
  static let fixedByteCounts: (header: Int, gap: Int)? = (8, 0)

  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead? {
    guard start.count >= 8 else { return nil }
    let shape = [start.littleEndian(at: 0, 4), start.littleEndian(at: 4, 4)]
    return FeatureHead(try FeatureLayout(.float32, shape: shape, dataOffset: 8))
  }
}
