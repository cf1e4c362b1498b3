// Text on its way out: nothing that is hidden passes, and nothing that JSON can
// hold is lost.

import Base
import Foundation
import Testing

@Suite struct PrintableTextTests {
  /// What has done harm in terminals, tables and names, and marks that join with it.
  static let pieces = [
    "\u{1B}[31m", "\u{9B}31m", "\u{202E}", "\u{2066}", "\u{200B}", "\u{200D}", "\u{FEFF}", "\u{AD}", "\u{7F}", "\u{0}",
    "\u{2028}", "\u{85}", "\u{E0041}", "\u{61C}", "\r", "\n", "\t", "\r\n", ",", "\"", ",\u{301}", "\"\u{301}",
    ".\u{301}",
    "\u{301}", "&", "<", "\\", "/", " ", "=1+1", "a", "é", "e\u{301}", "漢", "👩‍👩‍👧", "\u{FFFE}", "\u{10FFFF}",
  ]

  static func texts(_ count: Int) -> [String] {
    var random = SplitMix64(seed: 14)
    return (0..<count).map { _ in
      (0..<Int(random.next() % 8)).map { _ in pieces[Int(random.next() % UInt64(pieces.count))] }.joined()
    }
  }

  private func hidden(_ text: String, but allowed: [Unicode.Scalar] = []) -> [Unicode.Scalar] {
    text.unicodeScalars.filter { HiddenText.contains($0) && !allowed.contains($0) }
  }

  @Test func nothingHiddenPasses() {
    for text in Self.texts(5_000) {
      #expect(hidden(text.printable).isEmpty)
      #expect(hidden(text.printableLine).isEmpty)
      #expect(hidden(text.printableLines, but: ["\n", "\t"]).isEmpty)
      #expect(hidden(text.csvField, but: ["\n", "\t"]).isEmpty)
      #expect(hidden(text.escapedForXML).isEmpty)
      #expect(!text.escapedForXML.unicodeScalars.contains { ["<", ">", "\""].contains($0) })
      let json = JSONValue.object([text: .string(text)])
      #expect(hidden(json.text.escapedJSON).isEmpty)
      #expect(hidden(json.indentedText.escapedJSON, but: ["\n"]).isEmpty)
    }
  }

  @Test func whatIsSeenStays() {
    for text in ["", "a b", "img_emb_0000.npy", "é e\u{301}", "漢字.npy", "a, b", "👩", "❤\u{FE0F}"] {
      #expect(Array(text.printableLine.utf8) == Array(text.utf8))
      #expect(Array(text.printableLines.utf8) == Array(text.utf8))
      #expect(Array(text.escapedJSON.utf8) == Array(text.utf8))
    }
    // The controls and the separators of Unicode are all hidden, whatever its version.
    for value in 0..<UInt32(0x11_0000) {
      guard let scalar = Unicode.Scalar(value) else { continue }
      switch scalar.properties.generalCategory {
      case .control, .lineSeparator, .paragraphSeparator: #expect(HiddenText.contains(scalar), "\(value)")
      case .uppercaseLetter, .lowercaseLetter, .decimalNumber, .spacingMark, .mathSymbol, .spaceSeparator:
        #expect(!HiddenText.contains(scalar), "\(value)")
      default: break
      }
    }
  }

  @Test func jsonLosesNothing() throws {
    for text in Self.texts(2_000) {
      for document in [JSONValue.array([.string(text)]).text, JSONValue.array([.string(text)]).indentedText] {
        let read = try JSONSerialization.jsonObject(with: Data(document.escapedJSON.utf8)) as? [String]
        #expect(read?.first.map { Array($0.utf16) } == Array(text.utf16))
      }
    }
  }

  /// Fields of a line of CSV as RFC 4180 has them.
  private func fields(_ line: String) -> [String] {
    var fields: [String.UnicodeScalarView] = [.init()]
    var isQuoted = false
    var scalars = line.unicodeScalars[...]
    while let scalar = scalars.popFirst() {
      switch scalar {
      case "\"" where isQuoted && scalars.first == "\"":
        scalars.removeFirst()
        fields[fields.count - 1].append("\"")
      case "\"": isQuoted.toggle()
      case "," where !isQuoted: fields.append(.init())
      default: fields[fields.count - 1].append(scalar)
      }
    }
    return fields.map { String($0) }
  }

  @Test func aFieldOfCSVIsOneFieldAgain() {
    for text in Self.texts(5_000) {
      let line = [text, "x", text].map(\.csvField).joined(separator: ",")
      let found = fields(line).map { Array($0.utf8) }
      #expect(found == [text, "x", text].map { Array($0.printableLines.utf8) }, "\(line.debugDescription)")
    }
  }

  @Test func columnsAreCounted() {
    #expect("abc".columnCount == 3)
    #expect("e\u{301}".columnCount == 1)
    #expect("漢字".columnCount == 4)
    #expect("漢字a".prefix(columns: 3) == "漢")
    for emoji in "⌚⌛⏩⏰☔♈⚡⚽✅✨❌❓➕⬛⭐🀄🆎🈁🌀😀🚀🛒🟢🤖🥇🧠🩰🪐🫠" { #expect(String(emoji).columnCount == 2, "\(emoji)") }
    for narrow in "→✓©─é½☀✔" { #expect(String(narrow).columnCount == 1, "\(narrow)") }
    for text in Self.texts(500) {
      let line = text.printableLine
      for columns in [0, 1, 5, 80] { #expect(line.prefix(columns: columns).columnCount <= columns) }
    }
  }
}
