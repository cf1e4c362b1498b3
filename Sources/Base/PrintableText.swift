// Text from elsewhere, made fit for a message, a terminal or a page: the one
// place where characters that could do harm are replaced.

extension StringProtocol {
  /// The text on one line for a message: control characters become `?`, and
  /// what is beyond 200 characters is cut.
  package var printable: String { replacingControls(in: unicodeScalars.prefix(200), with: "?") }

  /// As ``printable``, and what is no ASCII becomes `?` too: for names out of
  /// files of which nothing is believed.
  package var printableASCII: String {
    String(
      String.UnicodeScalarView(
        unicodeScalars.prefix(200).map { $0.value >= 0x20 && $0.value < 0x7F ? $0 : "?" }))
  }

  /// The whole text on one line, for a cell of a table: control characters
  /// become spaces.
  package var printableCell: String { replacingControls(in: unicodeScalars, with: " ") }

  /// The text as it stands in elements and attributes of XML and HTML.
  ///
  /// XML 1.0 has no control characters, not even as references.
  package var escapedForXML: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case _ where scalar.value < 0x20: result += " "
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

private func replacingControls(in scalars: some Sequence<Unicode.Scalar>, with other: Unicode.Scalar) -> String {
  String(String.UnicodeScalarView(scalars.map { $0.properties.generalCategory == .control ? other : $0 }))
}
