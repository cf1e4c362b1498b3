// A command as one text, split into a program and its arguments. There is no shell: no
// variable, pattern, pipe or redirection.

/// A command line's words.
package enum QuotedWords {
  /// What nothing ends.
  package enum Fault: Error { case quotation, backslash }

  /// A word as a shell takes it, as it is where nothing in it means anything to one.
  package static func quoted(_ word: String) -> String {
    let isPlain = word.utf8.allSatisfy { $0.isLetterOrDigit || "%+,-./:=@_".utf8.contains($0) }
    return isPlain && !word.isEmpty ? word : "'" + word.replacing("'", with: "'\\''") + "'"
  }

  /// Splits a text: blanks separate words, '…' and "…" hold blanks, a backslash takes the
  /// next character as it is; within "…" only a quotation mark or a backslash.
  ///
  /// - Parameter text: The text.
  /// - Returns: Its words; one that was quoted may be empty.
  /// - Throws: ``Fault``.
  package static func split(_ text: some StringProtocol) throws(Fault) -> [String] {
    var words: [String] = []
    var word: String?
    var quote: Character?
    var characters = text.makeIterator()
    while let next = characters.next() {
      switch (next, quote) {
      case ("'", "'"), ("\"", "\""): quote = nil
      case ("'", nil), ("\"", nil):
        quote = next
        word = word ?? ""
      case ("\\", nil), ("\\", "\""):
        guard let escaped = characters.next() else { throw .backslash }
        let isLiteral = quote != nil && escaped != "\"" && escaped != "\\"
        word = (word ?? "") + (isLiteral ? "\\" : "") + String(escaped)
      case (" ", nil), ("\t", nil), ("\n", nil):
        if let done = word { words.append(done) }
        word = nil
      default: word = (word ?? "") + String(next)
      }
    }
    guard quote == nil else { throw .quotation }
    if let word { words.append(word) }
    return words
  }
}
