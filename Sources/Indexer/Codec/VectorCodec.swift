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

  /// Whether codes of it are kept beside the lists, to order the best again: more than four
  /// bits, and less than the rows themselves.
  package var canRefine: Bool { Self.refining.contains(self) }

  /// Those that refine.
  package static let refining: [VectorCodec] = [.sq8, .fp16]

  /// FAISS's `QuantizerType` in an `IwSq` file; nil for an `IwFl` file.
  package var faissQuantizerType: Int32? { entry.faissQuantizerType }

  /// The codec's number in tarn's own files and in the kernels.
  package var number: UInt32 { entry.number.rawValue }

  init?(number: UInt32) {
    guard let codec = Self.allCases.first(where: { $0.number == number }) else { return nil }
    self = codec
  }
}
