// Patterns of file names: `*` and `?` stop at a slash, `**` does not, and `**/` is any
// directories or none. Pure, and never slower than the two lengths multiplied.

/// A pattern that names are held against.
package struct NamePattern: Sendable, Equatable {
  package let text: String
  private let pieces: [Piece]
  private let isOfLastPart: Bool

  private enum Piece: Sendable, Equatable {
    case byte(UInt8)
    /// One character that is no slash.
    case one
    /// Any that are none.
    case part
    /// Any at all.
    case all
    /// Whole directories with their slashes.
    case directories
  }

  private static let slash = UInt8(ascii: "/")

  /// Parses a pattern: one without a slash is of the last part of a name.
  ///
  /// - Throws: ``TarnError`` `.usage` for one that is empty, too long or not seen.
  package init(parsing text: String) throws(TarnError) {
    guard !text.isEmpty, text.utf8.count <= 1_024, !text.unicodeScalars.contains(where: HiddenText.contains) else {
      throw TarnError(
        .usage, "'\(text.printable)' is no pattern of names",
        hint: "write '*.npz', or 'shards/**/*.npy' with directories")
    }
    self.text = text
    var pieces: [Piece] = []
    for byte in text.utf8 {
      let isOfDirectories =
        pieces.last == .all && [nil, .byte(Self.slash), .directories].contains(pieces.dropLast().last)
      switch (byte, pieces.last) {
      case (UInt8(ascii: "*"), .part): pieces[pieces.count - 1] = .all
      case (UInt8(ascii: "*"), .all): break
      case (UInt8(ascii: "*"), _): pieces.append(.part)
      case (UInt8(ascii: "?"), _): pieces.append(.one)
      case (Self.slash, _) where isOfDirectories:
        pieces[pieces.count - 1] = .directories
      default: pieces.append(.byte(byte))
      }
    }
    self.pieces = pieces
    isOfLastPart = !text.utf8.contains(Self.slash)
  }

  /// Whether a name has this form.
  package func matches(_ name: String) -> Bool {
    let name = Array((isOfLastPart ? name.lastPathPart : name).utf8)
    var (next, piece) = (0, 0)
    // Where the last piece of unknown length stands, and where what it takes ends: an
    // earlier one never needs another length.
    var within: (piece: Int, end: Int)?
    var across: (piece: Int, end: Int)?
    while next < name.count || piece < pieces.count {
      if piece < pieces.count {
        switch pieces[piece] {
        case .byte(let byte) where next < name.count && name[next] == byte:
          (next, piece) = (next + 1, piece + 1)
          continue
        case .one where next < name.count && name[next] != Self.slash:
          next += 1
          while next < name.count, name[next] & 0xC0 == 0x80 { next += 1 }
          piece += 1
          continue
        case .part:
          within = (piece, next)
          piece += 1
          continue
        case .all, .directories:
          (across, within) = ((piece, next), nil)
          piece += 1
          continue
        case .byte, .one: break
        }
      }
      if let last = within, last.end < name.count, name[last.end] != Self.slash {
        within = (last.piece, last.end + 1)
        (next, piece) = (last.end + 1, last.piece + 1)
      } else if let last = across, last.end < name.count {
        var end = last.end + 1
        if pieces[last.piece] == .directories {
          while end < name.count, name[end - 1] != Self.slash { end += 1 }
          guard name[end - 1] == Self.slash else { return false }
        }
        (across, within) = ((last.piece, end), nil)
        (next, piece) = (end, last.piece + 1)
      } else {
        return false
      }
    }
    return true
  }
}
