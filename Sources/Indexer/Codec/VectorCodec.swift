// The codecs of the command line, and what a code of each takes.

/// How a vector is stored in a list.
package enum VectorCodec: String, Sendable, CaseIterable, Codable {
  /// 4 bits a component in a range per dimension (FAISS `QT_4bit`).
  case sq4
  /// 8 bits a component in a range per dimension (FAISS `QT_8bit`).
  case sq8
  /// IEEE half precision (FAISS `QT_fp16`).
  case fp16
  /// float32 as it is (FAISS `IndexIVFFlat`).
  case flat

  /// Bytes of one code.
  package func codeByteCount(dimension: Int) -> Int {
    switch self {
    case .sq4: (dimension + 1) / 2
    case .sq8: dimension
    case .fp16: 2 * dimension
    case .flat: 4 * dimension
    }
  }

  /// Whether the codec needs ranges learnt from data.
  package var hasRanges: Bool { self == .sq4 || self == .sq8 }

  /// The codec's number in tarn's own files; never renumbered.
  var fileNumber: UInt32 {
    switch self {
    case .sq4: 0
    case .sq8: 1
    case .fp16: 2
    case .flat: 3
    }
  }

  init?(fileNumber: UInt32) {
    guard let codec = Self.allCases.first(where: { $0.fileNumber == fileNumber }) else { return nil }
    self = codec
  }
}

/// How the range of a dimension follows from the training rows.
package enum RangeStatistic: Sendable, Equatable {
  /// From the least to the greatest value.
  case minmax
  /// From the value at rank ⌊q·n⌋ to its mirror image at the top, where the
  /// values were first rounded to half precision; `q` is in `0..<0.5`.
  case quantiles(Float)

  /// What is best for a codec where nobody chose.
  ///
  /// Ranges of least and greatest values grow with the number of rows, and four
  /// bits cannot afford it: leaving out 0.5 % on each side is worth six points
  /// of recall@10. Eight bits can: there the tails are worth more
  /// (docs/RECALL.md).
  package static func choice(for codec: VectorCodec) -> RangeStatistic {
    codec == .sq4 ? .quantiles(0.005) : .minmax
  }

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
