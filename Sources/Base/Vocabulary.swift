// Words that every room shares: what elements are stored as, and what a build
// does about what is missing or bad.

/// The element type of a feature file.
package enum ElementType: String, Sendable, CaseIterable, Codable {
  case float16, float32

  /// Bytes per element.
  package var byteCount: Int {
    switch self {
    case .float16: 2
    case .float32: 4
    }
  }
}

/// What to do about a shard that cannot be had.
package enum MissingPolicy: String, Sendable, CaseIterable, Codable {
  case fail, skip
}

/// What to do about rows that are NaN, infinite or zero.
package enum BadRowsPolicy: String, Sendable, CaseIterable, Codable {
  case fail, skip
}
