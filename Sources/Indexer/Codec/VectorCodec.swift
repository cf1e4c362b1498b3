// The one table of codecs. Whatever depends on a codec asks here, or the kernels
// of CCodec and CScan, which know a codec by its number.

internal import CCodec

/// How a vector is stored in a list; the raw value is its name on the command
/// line, in documents and in SQL.
package enum VectorCodec: String, Sendable, CaseIterable, Codable {
  /// 4 bits a component in a range per dimension.
  case sq4
  /// 8 bits a component in a range per dimension.
  case sq8
  /// IEEE half precision.
  case fp16
  /// float32 as it is.
  case flat

  /// What sets a codec apart.
  private struct Entry {
    /// Its number in tarn's own files and in the kernels; never renumbered.
    let number: ccodec_codec
    let bits: Int
    /// FAISS's `QuantizerType` in an `IndexIVFScalarQuantizer`; nil for an
    /// `IndexIVFFlat`.
    let faissQuantizerType: Int32?
    /// How ranges are learnt where nobody chose; nil for a codec without.
    let ranges: RangeStatistic?
  }

  private var entry: Entry {
    switch self {
    // Ranges of least and greatest values grow with the number of rows, and
    // four bits cannot afford it: leaving out 0.5 % on each side is worth six
    // points of recall@10. Eight bits can: there the tails are worth more
    // (docs/RECALL.md).
    case .sq4: Entry(number: CCODEC_SQ4, bits: 4, faissQuantizerType: 1, ranges: .quantiles(0.005))
    case .sq8: Entry(number: CCODEC_SQ8, bits: 8, faissQuantizerType: 0, ranges: .minmax)
    case .fp16: Entry(number: CCODEC_FP16, bits: 16, faissQuantizerType: 4, ranges: nil)
    case .flat: Entry(number: CCODEC_FLAT, bits: 32, faissQuantizerType: nil, ranges: nil)
    }
  }

  /// Bits of one component.
  package var bitsPerComponent: Int { entry.bits }

  /// Bytes of one code.
  package func codeByteCount(dimension: Int) -> Int { (entry.bits * dimension + 7) / 8 }

  /// Whether the codec needs ranges learnt from data.
  package var hasRanges: Bool { entry.ranges != nil }

  /// What is best where nobody chose; means nothing for a codec without
  /// ranges.
  package var defaultRanges: RangeStatistic { entry.ranges ?? .minmax }

  /// FAISS's `QuantizerType` in an `IwSq` file; nil for an `IwFl` file.
  package var faissQuantizerType: Int32? { entry.faissQuantizerType }

  /// The codec's number in tarn's own files and in the kernels.
  package var number: UInt32 { entry.number.rawValue }

  init?(number: UInt32) {
    guard let codec = Self.allCases.first(where: { $0.number == number }) else { return nil }
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
