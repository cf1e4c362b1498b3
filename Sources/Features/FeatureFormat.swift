// The formats of feature files, told apart by their names, and what a size says
// of the rows.

/// How a feature file is laid out.

package import Base
package enum FeatureFormat: String, Sendable, CaseIterable {
  /// NumPy's, also for names that say nothing.
  case npy
  /// What `torch.save` writes: a zip archive with a pickle and the elements.
  case torch
  case safetensors
  /// A count and a dimension, then float32 rows.
  case fbin
  /// float32 rows, each behind its dimension.
  case fvecs

  /// The format that a file's name says, or `.npy`.
  package init(ofFile path: String) { self = FeatureFormat(extensionOf: path) ?? .npy }

  /// The format that a file's extension says; nil when it is none of them.
  package init?(extensionOf path: String) {
    let name = path.split(separator: "/").last ?? ""
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    switch parts.count > 1 ? parts.last?.lowercased() : nil {
    case "npy": self = .npy
    case "pt", "pth", "tensor": self = .torch
    case "safetensors": self = .safetensors
    case "fbin": self = .fbin
    case "fvecs": self = .fvecs
    default: return nil
    }
  }

  /// The rows of a file of so many bytes, where the size alone tells.
  ///
  /// - Parameters:
  ///   - byteCount: Bytes of the whole file.
  ///   - dimension: Elements of a row.
  ///   - elementType: Their type.
  /// - Returns: nil if no such file has that size, or only its header tells.
  package func rowCount(ofByteCount byteCount: Int, dimension: Int, elementType: ElementType) -> Int? {
    let headerByteCount: Int
    var rowByteCount = dimension * elementType.byteCount
    switch self {
    // NumPy pads the header of a matrix to 128 bytes.
    case .npy: headerByteCount = 128
    case .fbin: headerByteCount = 8
    case .fvecs: (headerByteCount, rowByteCount) = (0, rowByteCount + 4)
    case .torch, .safetensors: return nil
    }
    let rest = byteCount - headerByteCount
    return rest >= 0 && rest % rowByteCount == 0 ? rest / rowByteCount : nil
  }
}
