// How long a query may be.

extension Collection where Element == Float {
  /// Whether inner products with rows are finite: every element is, and the length is no
  /// more than 10^18, where float32 ends at 10^38.
  @inlinable package var hasFiniteScores: Bool {
    reduce(0) { $0 + Double($1) * Double($1) } <= 1e36
  }
}
