// Text from elsewhere, made fit for a message, a terminal, a page or a table: the
// one place that knows which characters could do harm, and what becomes of them.
//
// Scalars are looked at, never characters: a combining mark makes one character
// of itself and a comma, a dot or an escape before it.

/// The scalars that are not seen where they stand, or change how their
/// surroundings are seen.
package enum HiddenText {
  /// Controls (C0, C1, DEL), separators of lines and paragraphs, marks of
  /// direction, of no width and of annotation, noncharacters.
  ///
  /// Unicode's `Default_Ignorable_Code_Point` without variation selectors, and its
  /// categories Cc, Zl and Zp. A list, because names of shards are held against it
  /// for ever, and no version of Unicode may change what a name is: the schema has
  /// the same one.
  package static let ranges: [ClosedRange<UInt32>] = [
    0x00...0x1F, 0x7F...0x9F, 0xAD...0xAD, 0x34F...0x34F, 0x61C...0x61C, 0x115F...0x1160, 0x17B4...0x17B5,
    0x180B...0x180F, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x206F, 0x3164...0x3164, 0xFEFF...0xFEFF,
    0xFFA0...0xFFA0, 0xFFF0...0xFFFB, 0xFFFE...0xFFFF, 0x1BCA0...0x1BCA3, 0x1D173...0x1D17A, 0xE0000...0xE0FFF,
  ]

  /// Whether a scalar is one of them.
  package static func contains(_ scalar: Unicode.Scalar) -> Bool {
    let value = scalar.value
    if value < 0x7F { return value < 0x20 }
    return ranges.contains { $0.contains(value) }
  }
}

extension StringProtocol {
  /// The text on one line for a message: what is hidden becomes `?`, and what is
  /// beyond 200 scalars is cut.
  package var printable: String {
    String(String.UnicodeScalarView(unicodeScalars.prefix(200).map { HiddenText.contains($0) ? "?" : $0 }))
  }

  /// As ``printable``, and what is no ASCII becomes `?` too: for names out of
  /// files of which nothing is believed.
  package var printableASCII: String {
    String(
      String.UnicodeScalarView(
        unicodeScalars.prefix(200).map { $0.value >= 0x20 && $0.value < 0x7F ? $0 : "?" }))
  }

  /// The whole text on one line: white space that would end it becomes a space,
  /// and what else is hidden becomes `?`.
  package var printableLine: String { replacingHidden { _ in " " } }

  /// The whole text with its lines and tabs; what else is hidden becomes `?`, the
  /// carriage return too, as it writes over what stands there.
  package var printableLines: String { replacingHidden { $0 == "\r" ? "?" : $0 } }

  /// The text of JSON with escapes for what is hidden: the same value, as only
  /// strings can hold such, and they have escapes.
  package var escapedJSON: String {
    guard unicodeScalars.contains(where: { $0 != "\n" && HiddenText.contains($0) }) else { return String(self) }
    var result = String.UnicodeScalarView()
    for scalar in unicodeScalars {
      let isPlain = scalar == "\n" || !HiddenText.contains(scalar)
      if isPlain { result.append(scalar) } else { result.append(contentsOf: scalar.escapedJSON.unicodeScalars) }
    }
    return String(result)
  }

  /// The text as it stands in elements and attributes of XML and HTML, on one line.
  ///
  /// XML 1.0 has no control characters, not even as references.
  package var escapedForXML: String {
    var result = ""
    for scalar in printableLine.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// The text as one field of CSV: quoted where a comma, a quote or a line end
  /// would end it; what is hidden otherwise becomes `?`.
  ///
  /// - SeeAlso: https://www.rfc-editor.org/rfc/rfc4180
  package var csvField: String {
    let text = printableLines
    let ends: [Unicode.Scalar] = [",", "\"", "\n"]
    guard text.unicodeScalars.contains(where: ends.contains) else { return text }
    var result = String.UnicodeScalarView("\"".unicodeScalars)
    for scalar in text.unicodeScalars {
      if scalar == "\"" { result.append(scalar) }
      result.append(scalar)
    }
    result.append("\"")
    return String(result)
  }

  /// Columns of a terminal that the text takes: none for marks that combine, two
  /// for the wide scripts of East Asia and for emoji.
  package var columnCount: Int { unicodeScalars.reduce(0) { $0 + $1.columnCount } }

  /// The beginning of the text that fits into so many columns.
  package func prefix(columns: Int) -> String {
    var left = columns
    return String(
      String.UnicodeScalarView(
        unicodeScalars.prefix { scalar in
          left -= scalar.columnCount
          return left >= 0
        }))
  }

  private func replacingHidden(whiteSpace: (Unicode.Scalar) -> Unicode.Scalar) -> String {
    guard unicodeScalars.contains(where: HiddenText.contains) else { return String(self) }
    return String(
      String.UnicodeScalarView(
        unicodeScalars.map { scalar in
          switch scalar {
          case "\n", "\r", "\t": whiteSpace(scalar)
          default: HiddenText.contains(scalar) ? "?" : scalar
          }
        }))
  }
}

extension Unicode.Scalar {
  /// The scalar in strings of JSON where it cannot be seen: `\u2028`, or two such.
  var escapedJSON: String {
    String(self).utf16.map { unit in
      let digits = String(unit, radix: 16)
      return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    }.joined()
  }

  fileprivate var columnCount: Int {
    if value < 0x300 { return 1 }
    switch properties.generalCategory {
    case .nonspacingMark, .enclosingMark: return 0
    default: break
    }
    switch value {
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
      0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F200...0x1F265, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
      return 2
    // Letters of which two make a flag.
    case 0x1F1E6...0x1F1FF: return 1
    // Unicode's East_Asian_Width is W for all that is shown as emoji.
    default: return properties.isEmojiPresentation ? 2 : 1
    }
  }
}
