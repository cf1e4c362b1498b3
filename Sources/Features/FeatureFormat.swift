// The formats of feature files, told apart by their names. Each is read in a file
// of its own; whoever looks into a feature file goes through here.

package import Base

/// How a feature file is laid out.
package enum FeatureFormat: String, Sendable, CaseIterable {
  /// NumPy's, also for names that say nothing.
  case npy
  /// What `torch.save` writes: a zip archive with a pickle and the elements.
  case torch
  case safetensors
  /// A count and a dimension, then float32 rows.
  case fbin
  /// As ``fbin``, of float16, unsigned and signed bytes.
  case f16bin, u8bin, i8bin
  /// float32 rows, each behind its dimension.
  case fvecs
  /// As ``fvecs``, of unsigned bytes.
  case bvecs

  /// What reads it.
  var reader: any FeatureReader.Type {
    switch self {
    case .npy: NpyReader.self
    case .torch: TorchReader.self
    case .safetensors: SafetensorsReader.self
    case .fbin: FbinReader.self
    case .f16bin: F16binReader.self
    case .u8bin: U8binReader.self
    case .i8bin: I8binReader.self
    case .fvecs: FvecsReader.self
    case .bvecs: BvecsReader.self
    }
  }

  /// Every format by its extension, as a sentence has it: `.npy, … or .fvecs`.
  package static var enumeration: String {
    allCases.map { "." + ($0.reader.extensions.first ?? $0.rawValue) }.alternatives
  }

  /// The format that a file's name says, or `.npy`.
  package init(ofFile path: String) { self = FeatureFormat(extensionOf: path) ?? .npy }

  /// The format that a file's extension says; nil when it is none of them.
  package init?(extensionOf path: String) {
    let name = path.split(separator: "/").last ?? ""
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count > 1, let last = parts.last?.lowercased(),
      let found = FeatureFormat.allCases.first(where: { $0.reader.extensions.contains(last) })
    else { return nil }
    self = found
  }

  /// The rows of a file of so many bytes, where the size alone tells.
  ///
  /// - Parameters:
  ///   - byteCount: Bytes of the whole file.
  ///   - dimension: Elements of a row.
  ///   - elementType: Their type.
  /// - Returns: nil if no such file has that size, or only its header tells.
  package func rowCount(ofByteCount byteCount: Int, dimension: Int, elementType: ElementType) -> Int? {
    guard let (headerByteCount, gapByteCount) = reader.fixedByteCounts else { return nil }
    let rowByteCount = dimension * elementType.byteCount + gapByteCount
    let rest = byteCount - headerByteCount
    return rest >= 0 && rest % rowByteCount == 0 ? rest / rowByteCount : nil
  }
}

/// How one format is read: a file of which nothing is believed, from its first
/// bytes or whole.
protocol FeatureReader {
  /// Extensions of its files, lower case.
  static var extensions: [String] { get }

  /// Bytes before the first row and between rows, where every file has the same;
  /// nil where only a header tells.
  static var fixedByteCounts: (header: Int, gap: Int)? { get }

  /// Reads the beginning of a file.
  ///
  /// - Parameters:
  ///   - start: The file from its start, as much as there is.
  ///   - byteCount: Bytes of the whole file, if somebody said.
  /// - Returns: What it says; nil if more bytes are needed.
  /// - Throws: ``FeatureFault`` when it is no such file.
  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead?

  /// Reads where the rows of a whole file are.
  ///
  /// - Throws: ``FeatureFault`` when it is no such file; ``TarnError`` `.io`.
  static func layout(of file: UntrustedFile) throws -> FeatureLayout
}

extension FeatureReader {
  /// The layout that the beginning gives, of a file that is as long as it says.
  static func layout(of file: UntrustedFile) throws -> FeatureLayout {
    var count = min(4096, file.byteCount)
    while true {
      let start = try file.bytes(at: 0, count: count, "its header")
      if let head = try head(start, byteCount: file.byteCount), let layout = head.layout {
        guard file.byteCount == head.fileByteCount else {
          throw FeatureFault(
            "it has \(file.byteCount) bytes; [\(layout.rowCount) x \(layout.dimension)] \(layout.elementType) needs "
              + "\(head.fileByteCount)",
            hint: file.byteCount < head.fileByteCount
              ? "it is truncated: fetch it again" : "it has bytes after its last row")
        }
        return layout
      }
      guard count < file.byteCount else {
        throw FeatureFault(
          "it ends inside its header, after \(count) bytes", hint: "it is truncated: fetch it again")
      }
      count = min(2 * count, file.byteCount)
    }
  }
}
