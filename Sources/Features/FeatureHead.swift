// What the first bytes of a feature file say of the whole, in any format: enough
// to end a transfer of something else before its rows come.

package import Base

/// The beginning of a feature file.
package struct FeatureHead: Sendable, Equatable {
  /// Where the rows are; nil where only the end of the file tells.
  let layout: FeatureLayout?
  /// Bytes of the whole file.
  package let fileByteCount: Int

  /// Nil, as the next two, where only the end of the file tells.
  package var elementType: ElementType? { layout?.elementType }
  package var dimension: Int? { layout?.dimension }
  package var rowCount: Int? { layout?.rowCount }

  /// A head of rows that fill the rest of the file.
  init(_ layout: FeatureLayout) {
    self.layout = layout
    fileByteCount = layout.endOffset
  }

  /// What a file says of its rows wherever in it.
  init(_ layout: FeatureLayout, fileByteCount: Int) { (self.layout, self.fileByteCount) = (layout, fileByteCount) }

  /// A head that says no more than what is said elsewhere.
  package init(fileByteCount: Int) {
    layout = nil
    self.fileByteCount = fileByteCount
  }

  /// What is wrong with it for a source of a kind.
  ///
  /// - Parameters:
  ///   - dimension: Elements of the source's rows; nil for any.
  ///   - elementType: Their type; nil for any.
  /// - Returns: Nil if nothing is, as far as the beginning tells.
  package func fault(dimension: Int?, elementType: ElementType?) -> String? {
    if let own = self.dimension, let dimension, own != dimension {
      return "its rows have \(own) elements where the source has \(dimension)"
    }
    if let own = self.elementType, let elementType, own != elementType {
      return "its elements are \(own.rawValue) where the source has \(elementType.rawValue)"
    }
    return nil
  }

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
    if let start = String(validating: bytes.prefix(9), as: UTF8.self)?.lowercased(),
      start.hasPrefix("<html") || start.hasPrefix("<!doctype")
    {
      return .malformed("it is an HTML page")
    }
    do throws(FeatureFault) {
      return try format.reader.head(bytes, byteCount: byteCount).map(Prefix.head) ?? .needsMore
    } catch {
      return .malformed(error.cause)
    }
  }
}
