// How a codec's ranges follow from the rows they are learnt from, and how that is
// written.

/// How the range of a dimension follows from the training rows.
package enum RangeStatistic: Sendable, Equatable {
  /// From the least to the greatest value.
  case minmax
  /// From the value at rank ⌊q·n⌋ to its mirror image at the top, where the
  /// values were first rounded to half precision; `q` is in `0..<0.5`.
  case quantiles(Float)

  /// As the command line and specifications have it: `minmax` or
  /// `quantiles:SHARE`.
  package var text: String {
    switch self {
    case .minmax: "minmax"
    case .quantiles(let share): "quantiles:\(share)"
    }
  }

  /// Reads what ``text`` writes; nil for anything else.
  package init?(parsing text: String) {
    guard text != "minmax" else {
      self = .minmax
      return
    }
    let prefix = "quantiles:"
    guard text.hasPrefix(prefix), let share = Float(text.dropFirst(prefix.count)), (0..<0.5).contains(share),
      share.sign == .plus
    else { return nil }
    self = .quantiles(share)
  }

  /// FAISS's `RangeStat` and its argument, as they stand in an index file.
  var faissFields: (statistic: Int32, argument: Float) {
    switch self {
    case .minmax: (0, 0)
    case .quantiles(let share): (2, share)
    }
  }

  init?(faissStatistic: Int32, argument: Float) {
    // -0 equals 0 but has other bytes, and would be written back as 0.
    guard argument.sign == .plus else { return nil }
    switch (faissStatistic, argument) {
    case (0, 0): self = .minmax
    case (2, 0..<0.5): self = .quantiles(argument)
    default: return nil
    }
  }
}
