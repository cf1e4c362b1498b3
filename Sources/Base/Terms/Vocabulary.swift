// Words that every module shares: what elements are stored as, and what a build
// does about what is missing or bad.

/// The element type of a feature file.
///
/// What is computed with an element is the float32 that it converts to: exactly, but for
/// float64, which is rounded once, to the nearest, ties to even (IEEE 754). Beyond the
/// range of float32 that is an infinity, and the row a bad one.
package enum ElementType: String, Sendable, CaseIterable, Codable {
  case float16, float32, float64, bfloat16, uint8, int8

  /// Bytes per element.
  package var byteCount: Int {
    switch self {
    case .uint8, .int8: 1
    case .float16, .bfloat16: 2
    case .float32: 4
    case .float64: 8
    }
  }

  /// What rows are kept as that were taken out of files: as they are, or converted.
  package var kept: ElementType { self == .float16 ? .float16 : .float32 }

  /// Every type, as a sentence has it.
  package static var enumeration: String { allCases.map(\.rawValue).alternatives }

  /// The rule of the conversion, for specifications; nil for those that are kept as they
  /// are, of which specifications never said anything.
  package var conversion: String? {
    guard kept != self else { return nil }
    return "\(rawValue) to float32\(self == .float64 ? ", nearest, ties to even" : "")"
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

extension [String] {
  /// Names as a sentence has them: `one, two or three`.
  package var alternatives: String { dropLast().joined(separator: ", ") + " or " + (last ?? "") }
}
