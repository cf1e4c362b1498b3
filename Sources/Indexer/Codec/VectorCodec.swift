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
