// The XML of a store's answer, read whole and strictly or not at all: a document that was cut is
// no shorter document. Pure.
//
// Of XML there is what stores write: elements, attributes (passed over), text, comments, CDATA, the
// five named entities and numeric ones. There is no DOCTYPE, no other entity, no instruction.

internal import Base

/// A store's XML document.
package struct StoreDocument: Sendable, Equatable {
  /// An element.
  package struct Element: Sendable, Equatable {
    package let name: String
    /// Its own text, decoded, without that of the elements in it.
    package fileprivate(set) var text = ""
    package fileprivate(set) var children: [Element] = []

    /// The elements of a name directly in it, in order.
    package func elements(_ name: String) -> [Element] { children.filter { $0.name == name } }

    /// The text of the one element of a name in it; nil without one.
    ///
    /// - Throws: ``Fault`` when there are several.
    package func text(of name: String) throws(Fault) -> String? {
      let found = elements(name)
      guard found.count < 2 else { throw Fault(message: "it says \(name) twice") }
      return found.first?.text
    }

    /// Whether the answer goes on; an answer that does not say so does not.
    ///
    /// - Throws: ``Fault`` for what is neither `true` nor `false`.
    package func isTruncated() throws(Fault) -> Bool {
      switch try text(of: "IsTruncated") {
      case nil, "false": return false
      case "true": return true
      default: throw Fault(message: "its IsTruncated is neither true nor false")
      }
    }
  }

  /// Why bytes are no document.
  package struct Fault: Error, Equatable {
    package let message: String
    /// Whether they end before the document does.
    package var isCut = false

    /// The error of an answer.
    func error(of what: String) -> TarnError { TarnError(.integrity, "\(what) is refused: \(message)") }
  }

  package let root: Element

  static let mostDepth = 16
  static let mostElementCount = 500_000

  /// Reads a document.
  ///
  /// - Parameter bytes: All of it, in UTF-8.
  /// - Throws: ``Fault``.
  package init(_ bytes: [UInt8]) throws(Fault) {
    guard String(validating: bytes, as: UTF8.self) != nil else {
      let isCut = (1...3).contains { String(validating: bytes.dropLast($0), as: UTF8.self) != nil }
      throw Fault(message: "it is no text in UTF-8", isCut: isCut)
    }
    var reader = Reader(bytes: bytes)
    root = try reader.document()
  }

  /// A text as it may stand in a document.
  static func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
      .replacing("\"", with: "&quot;")
  }

  private struct Reader {
    let bytes: [UInt8]
    var place = 0
    private var elementCount = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(Fault) -> Element {
      if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { place = 3 }
      // A store that puts parts together sends blanks until it knows how it ends.
      skipBlanks()
      if try begins("<?xml".utf8) { try skip(past: "?>", from: 5) }
      try skipBlanksAndComments()
      let root = try root()
      try skipBlanksAndComments()
      guard place == bytes.count else { throw Fault(message: "something stands behind its end") }
      return root
    }

    /// The element here and all that is in it; elements that are open are on a list, not on the stack.
    private mutating func root() throws(Fault) -> Element {
      var open: [Element] = []
      var texts: [[UInt8]] = []
      while true {
        if !open.isEmpty { try text(into: &texts[texts.count - 1]) }
        guard place < bytes.count else { throw cut }
        var finished: Element?
        if try begins("</".utf8) {
          place += 2
          let name = try name()
          skipBlanks()
          try expect(0x3E)
          guard var element = open.popLast(), let text = texts.popLast(), element.name == name else {
            throw Fault(message: "</\(name)> ends what is not open")
          }
          element.text = String(decoding: text, as: UTF8.self)
          finished = element
        } else if try begins("<!--".utf8), !open.isEmpty {
          try skip(past: "-->", from: 4)
        } else if try begins("<![CDATA[".utf8), !open.isEmpty {
          let start = place + 9
          try skip(past: "]]>", from: 9)
          texts[texts.count - 1] += bytes[start..<(place - 3)]
        } else {
          let (element, isEmpty) = try startTag()
          elementCount += 1
          guard elementCount <= mostElementCount, open.count < mostDepth else {
            throw Fault(message: "it has too many elements, or too many in one another")
          }
          if isEmpty {
            finished = element
          } else {
            open.append(element)
            texts.append([])
          }
        }
        guard let finished else { continue }
        guard !open.isEmpty else { return finished }
        open[open.count - 1].children.append(finished)
      }
    }

    private mutating func startTag() throws(Fault) -> (Element, isEmpty: Bool) {
      try expect(0x3C)
      let element = Element(name: try name())
      var attributes: Set<String> = []
      while true {
        let before = place
        skipBlanks()
        guard place < bytes.count else { throw cut }
        if bytes[place] == 0x3E {
          place += 1
          return (element, false)
        }
        if bytes[place] == 0x2F {
          place += 1
          try expect(0x3E)
          return (element, true)
        }
        guard place > before else { throw Fault(message: "a tag of \(element.name) is none") }
        guard attributes.insert(try name()).inserted else { throw Fault(message: "an attribute comes twice") }
        skipBlanks()
        try expect(0x3D)
        skipBlanks()
        guard place < bytes.count else { throw cut }
        let quote = bytes[place]
        guard quote == 0x22 || quote == 0x27 else { throw Fault(message: "an attribute has no quotation marks") }
        place += 1
        var ignored: [UInt8] = []
        while place < bytes.count, bytes[place] != quote {
          guard bytes[place] != 0x3C else { throw Fault(message: "an attribute has a '<' in it") }
          try character(into: &ignored)
        }
        try expect(quote)
      }
    }

    /// Text up to the next tag.
    private mutating func text(into text: inout [UInt8]) throws(Fault) {
      while place < bytes.count, bytes[place] != 0x3C { try character(into: &text) }
    }

    /// One byte of text, or what an entity stands for.
    private mutating func character(into text: inout [UInt8]) throws(Fault) {
      let byte = bytes[place]
      guard byte == 0x26 else {
        guard byte >= 0x20 || Self.isBlank(byte) else { throw Fault(message: "it has a character that no XML has") }
        text.append(byte)
        place += 1
        return
      }
      let inside = bytes[(place + 1)...].prefix(12)
      guard let end = inside.firstIndex(of: 0x3B) else {
        throw place + 13 > bytes.count ? cut : Fault(message: "it has an '&' that begins no entity")
      }
      let name = String(decoding: bytes[(place + 1)..<end], as: UTF8.self)
      guard let scalar = Self.scalar(of: name) else {
        throw Fault(message: "it has the entity '&\(name.printable);', which is not known")
      }
      text += Array(String(Character(scalar)).utf8)
      place = end + 1
    }

    /// What an entity stands for; nil for one that XML alone does not know.
    private static func scalar(of name: String) -> Unicode.Scalar? {
      switch name {
      case "amp": return "&"
      case "lt": return "<"
      case "gt": return ">"
      case "quot": return "\""
      case "apos": return "'"
      default:
        guard name.hasPrefix("#") else { return nil }
        let isHex = name.hasPrefix("#x")
        let digits = name.dropFirst(isHex ? 2 : 1)
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 != 0x2B && $0 != 0x2D }),
          let value = UInt32(digits, radix: isHex ? 16 : 10), let scalar = Unicode.Scalar(value),
          value >= 0x20 || value == 9 || value == 10 || value == 13, value & 0xFFFE != 0xFFFE
        else { return nil }
        return scalar
      }
    }

    private mutating func name() throws(Fault) -> String {
      let start = place
      while place < bytes.count, Self.isOfName(bytes[place], first: place == start) { place += 1 }
      guard place < bytes.count else { throw cut }
      guard place > start else {
        throw Fault(
          message: bytes[place] == 0x21 ? "it has a DOCTYPE, which no store writes" : "it has a tag without a name")
      }
      return String(decoding: bytes[start..<place], as: UTF8.self)
    }

    private static func isOfName(_ byte: UInt8, first: Bool) -> Bool {
      switch byte {
      case 0x41...0x5A, 0x61...0x7A, 0x5F, 0x3A, 0x80...0xFF: true
      case 0x30...0x39, 0x2D, 0x2E: !first
      default: false
      }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 9 || byte == 10 || byte == 13 }

    private var cut: Fault { Fault(message: "it was cut", isCut: true) }

    private func begins(_ mark: String.UTF8View) throws(Fault) -> Bool {
      let rest = bytes[place...].prefix(mark.count)
      guard rest.count == mark.count || !mark.starts(with: rest) else { throw cut }
      return rest.elementsEqual(mark)
    }

    private mutating func expect(_ byte: UInt8) throws(Fault) {
      guard place < bytes.count else { throw cut }
      guard bytes[place] == byte else { throw Fault(message: "it is no XML at byte \(place)") }
      place += 1
    }

    private mutating func skipBlanks() { while place < bytes.count, Self.isBlank(bytes[place]) { place += 1 } }

    private mutating func skipBlanksAndComments() throws(Fault) {
      skipBlanks()
      while place < bytes.count, try begins("<!--".utf8) {
        try skip(past: "-->", from: 4)
        skipBlanks()
      }
    }

    private mutating func skip(past end: String, from offset: Int) throws(Fault) {
      let end = Array(end.utf8)
      var at = place + offset
      while at + end.count <= bytes.count {
        if bytes[at..<(at + end.count)].elementsEqual(end) {
          place = at + end.count
          return
        }
        at += 1
      }
      throw cut
    }
  }
}
