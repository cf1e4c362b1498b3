// A long part of a pattern of LIKE, looked for without trying it at each place of a text anew.

/// What stands between two `%`, as sets of bits: the text is passed over once, and a step takes a 64th of the part's length
/// (Shift-And, Baeza-Yates and Gonnet 1992).
struct PatternPart: Sendable, Hashable {
  /// Parts of fewer atoms are tried place by place, which takes less.
  static let leastCount = 33

  private let count: Int
  /// For each byte where in the part it is.
  private let places: [UInt8: [UInt64]]
  /// Where in the part any scalar is.
  private let scalars: [UInt64]
  private let endsWithScalar: Bool

  /// Nil for a part that is short, or of bytes alone, for which there are quicker ways.
  init?(_ atoms: [LikePattern.Atom]) {
    guard atoms.count >= Self.leastCount, atoms.contains(.scalar) else { return nil }
    let nowhere = [UInt64](repeating: 0, count: (atoms.count + 63) / 64)
    var (places, scalars): ([UInt8: [UInt64]], [UInt64]) = ([:], nowhere)
    for (number, atom) in atoms.enumerated() {
      let bit = UInt64(1) << UInt64(number % 64)
      switch atom {
      case .byte(let byte): places[byte, default: nowhere][number / 64] |= bit
      case .scalar: scalars[number / 64] |= bit
      }
    }
    (count, self.places, self.scalars, endsWithScalar) = (atoms.count, places, scalars, atoms.last == .scalar)
  }

  /// Where the part ends that comes first in a text in UTF-8; nil where there is none.
  func firstEnd(in text: ArraySlice<UInt8>) -> Int? {
    // A bit for each atom: whether the bytes up to here end with the part up to it.
    var state = [UInt64](repeating: 0, count: scalars.count)
    let last = UInt64(1) << UInt64((count - 1) % 64)
    for place in text.indices {
      let goesOn = LikePattern.isWithin(text[place])
      let own = places[text[place]]
      var carry: UInt64 = 1
      for word in state.indices {
        let old = state[word]
        let next = old << 1 | carry
        carry = old >> 63
        let bytes = own?[word] ?? 0
        // What goes on a scalar is of the atom that took its first byte.
        state[word] = goesOn ? next & bytes | old & scalars[word] : next & (bytes | scalars[word])
      }
      guard state[state.count - 1] & last != 0 else { continue }
      var end = place + 1
      while endsWithScalar, end < text.endIndex, LikePattern.isWithin(text[end]) { end += 1 }
      return end
    }
    return nil
  }
}
