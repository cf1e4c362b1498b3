// Keys without a character are never taken for one.

import Base
import Testing

@Suite struct KeyReaderTests {
  /// F1 to F5 of xterm, of the Linux console, arrows, F12 with modifiers, Alt and a letter.
  private static let sequences = [
    "\u{1B}OP", "\u{1B}OQ", "\u{1B}Oq", "\u{1B}[[A", "\u{1B}[[Q", "\u{1B}[A", "\u{1B}[24;5~", "\u{1B}[1;2Q", "\u{1B}q",
  ]

  @Test func sequencesAreNoCharacters() {
    for sequence in Self.sequences {
      let bytes = Array("a\(sequence)b".utf8)
      for cut in 0...bytes.count {
        var reader = KeyReader()
        let found = reader.characters(in: bytes[..<cut]) + reader.characters(in: bytes[cut...])
        #expect(found == Array("ab".utf8), "\(sequence.debugDescription) cut at \(cut)")
      }
    }
  }

  @Test func escapeAloneIsOverWhenNothingFollows() {
    var reader = KeyReader()
    #expect(reader.characters(in: [0x1B]) == [])
    #expect(reader.characters(in: []) == [])
    #expect(reader.characters(in: "q".utf8) == Array("q".utf8))
  }
}
