// Reads the text of a condition, of which nothing is believed: its length, depth and number of
// terms are bounded, and what is wrong is told with its place.

internal import Base

extension RowCondition {
  /// The most bytes of a text.
  package static let mostByteCount = 8192
  /// The most parentheses and NOTs within each other.
  package static let mostDepth = 64
  /// The most tests and values of lists together.
  package static let mostTerms = 1024

  /// Reads a condition.
  ///
  /// - Parameter text: What somebody wrote.
  /// - Throws: ``Base/TarnError`` `.usage` that names the character where it is wrong.
  package init(parsing text: String) throws {
    guard text.utf8.count <= Self.mostByteCount else {
      throw TarnError(
        .usage, "the condition has \(text.utf8.count) bytes, and at most \(Self.mostByteCount) are read",
        hint: "write a file of row ids and search with --ids")
    }
    var parser = try Parser(Array(text.utf8))
    self = try parser.whole()
  }
}

private struct Token {
  enum Kind: Equatable {
    /// A name without quotes, which may be a word of the language.
    case word(String)
    case name(String)
    case literal(RowCondition.Literal)
    case comparison(RowCondition.Comparison)
    case open, close, comma, end
  }

  let kind: Kind
  let bytes: Range<Int>
}

private struct Parser {
  private let text: [UInt8]
  private var tokens: [Token] = []
  private var next = 0
  private var depth = 0
  private var termCount = 0

  private static let words: Set<String> = ["AND", "OR", "NOT", "IN", "LIKE", "CONTAINS", "IS", "NULL", "TRUE", "FALSE"]

  init(_ text: [UInt8]) throws {
    self.text = text
    var place = 0
    while let token = try token(at: place) {
      tokens.append(token)
      place = token.bytes.upperBound
    }
    tokens.append(Token(kind: .end, bytes: text.count..<text.count))
  }

  // MARK: The grammar

  mutating func whole() throws -> RowCondition {
    let condition = try anyOf()
    guard peek.kind == .end else { throw fault("AND, OR or the end is wanted") }
    return condition
  }

  private mutating func anyOf() throws -> RowCondition {
    var parts = [try allOf()]
    while take("OR") { parts.append(try allOf()) }
    return parts.count == 1 ? parts[0] : .any(parts)
  }

  private mutating func allOf() throws -> RowCondition {
    var parts = [try one()]
    while take("AND") { parts.append(try one()) }
    return parts.count == 1 ? parts[0] : .all(parts)
  }

  private mutating func one() throws -> RowCondition {
    let start = peek
    if take("NOT") { return .not(try deeper(start) { try $0.one() }) }
    guard peek.kind == .open else { return try test() }
    next += 1
    let inner = try deeper(start) { try $0.anyOf() }
    guard peek.kind == .close else { throw fault("a closing parenthesis is wanted") }
    next += 1
    return inner
  }

  private mutating func deeper(_ start: Token, _ body: (inout Parser) throws -> RowCondition) throws -> RowCondition {
    depth += 1
    defer { depth -= 1 }
    guard depth <= RowCondition.mostDepth else {
      throw fault("more than \(RowCondition.mostDepth) parentheses and NOTs are within each other", start)
    }
    return try body(&self)
  }

  private mutating func test() throws -> RowCondition {
    let column = try column()
    try count()
    if case .comparison(let comparison) = peek.kind {
      next += 1
      let place = peek
      let literal = try literal()
      if case .bool = literal, comparison != .equal, comparison != .notEqual {
        throw fault("TRUE and FALSE are compared with = and != alone", place)
      }
      return .compare(column, comparison, literal)
    }
    if take("IS") {
      let isNot = take("NOT")
      guard take("NULL") else { throw fault("NULL is wanted behind IS") }
      return isNot ? .not(.isNull(column)) : .isNull(column)
    }
    let isNot = take("NOT")
    let found: RowCondition
    if take("IN") {
      found = .isIn(column, try list())
    } else if take("LIKE") {
      let place = peek
      guard let pattern = LikePattern(try textLiteral()) else {
        throw fault("a backslash in a pattern stands before %, _ or another one", place)
      }
      found = .like(column, pattern)
    } else if take("CONTAINS") {
      found = .contains(column, try textLiteral())
    } else {
      // `width-2` is a name and a number.
      let isOneWord =
        switch peek.kind {
        case .literal(.integer), .literal(.number): tokens[next - 1].bytes.upperBound == peek.bytes.lowerBound
        default: false
        }
      throw fault(
        isNot
          ? "IN, LIKE or CONTAINS is wanted"
          : "=, !=, <, <=, >, >=, IN, LIKE, CONTAINS or IS is wanted" + (isOneWord ? quoting(peek.bytes) : ""))
    }
    return isNot ? .not(found) : found
  }

  private mutating func column() throws -> String {
    switch peek.kind {
    case .name(let name):
      next += 1
      return name
    case .word(let word) where !Self.words.contains(word.uppercased()):
      next += 1
      return word
    case .literal(.text):
      throw fault("a column is wanted; names are within double quotes or none, texts in single ones")
    case .word: throw fault("a column is wanted; one of this name is written in double quotes")
    default: throw fault("a column is wanted")
    }
  }

  private mutating func list() throws -> [RowCondition.Literal] {
    guard peek.kind == .open else { throw fault("a list is wanted: IN ('a', 'b')") }
    next += 1
    var literals = [try literal()]
    while peek.kind == .comma {
      next += 1
      try count()
      literals.append(try literal())
    }
    guard peek.kind == .close else { throw fault("a comma or the list's end is wanted") }
    next += 1
    return literals
  }

  private mutating func literal() throws -> RowCondition.Literal {
    if case .literal(let literal) = peek.kind {
      next += 1
      return literal
    }
    if take("TRUE") { return .bool(true) }
    if take("FALSE") { return .bool(false) }
    if case .word(let word) = peek.kind, word.uppercased() == "NULL" {
      throw fault("nothing is equal to NULL; write IS NULL or IS NOT NULL")
    }
    if case .name = peek.kind { throw fault("a value is wanted; texts are in single quotes") }
    throw fault("a value is wanted: a number, a text in single quotes, TRUE or FALSE")
  }

  private mutating func textLiteral() throws -> [UInt8] {
    let place = peek
    guard case .text(let bytes) = try literal() else { throw fault("a text in single quotes is wanted", place) }
    return bytes
  }

  private mutating func count() throws {
    termCount += 1
    guard termCount <= RowCondition.mostTerms else {
      throw fault("there are more than \(RowCondition.mostTerms) tests and values")
    }
  }

  private var peek: Token { tokens[next] }

  /// Passes over a word of the language, if it comes next.
  private mutating func take(_ word: String) -> Bool {
    guard case .word(let found) = peek.kind, found.uppercased() == word else { return false }
    next += 1
    return true
  }

  // MARK: Tokens

  /// The token that begins at a place or behind white space there; nil at the end.
  private func token(at start: Int) throws -> Token? {
    var place = start
    while place < text.count, [0x20, 0x09, 0x0A, 0x0D].contains(text[place]) { place += 1 }
    guard place < text.count else { return nil }
    func one(_ kind: Token.Kind, _ count: Int) -> Token { Token(kind: kind, bytes: place..<(place + count)) }
    let second = place + 1 < text.count ? text[place + 1] : 0
    switch text[place] {
    case UInt8(ascii: "("): return one(.open, 1)
    case UInt8(ascii: ")"): return one(.close, 1)
    case UInt8(ascii: ","): return one(.comma, 1)
    case UInt8(ascii: "="):
      guard second != UInt8(ascii: "=") else { throw fault("equality is written =", one(.end, 2)) }
      return one(.comparison(.equal), 1)
    case UInt8(ascii: "!"):
      guard second == UInt8(ascii: "=") else { throw fault("unequal is written !=", one(.end, 1)) }
      return one(.comparison(.notEqual), 2)
    case UInt8(ascii: "<"):
      if second == UInt8(ascii: ">") { return one(.comparison(.notEqual), 2) }
      return second == UInt8(ascii: "=") ? one(.comparison(.lessOrEqual), 2) : one(.comparison(.less), 1)
    case UInt8(ascii: ">"):
      return second == UInt8(ascii: "=") ? one(.comparison(.greaterOrEqual), 2) : one(.comparison(.greater), 1)
    case UInt8(ascii: "'"), UInt8(ascii: "\""): return try quoted(at: place)
    case let byte where Self.isDigit(byte) || [UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: ".")].contains(byte):
      return try number(at: place)
    case let byte where Self.isLetter(byte):
      var end = place
      while end < text.count, Self.isLetter(text[end]) || Self.isDigit(text[end]) || text[end] == UInt8(ascii: ".") {
        end += 1
      }
      return one(.word(String(decoding: text[place..<end], as: UTF8.self)), end - place)
    default: throw fault("this is of no condition", one(.end, 1))
    }
  }

  private func quoted(at start: Int) throws -> Token {
    let quote = text[start]
    var (place, bytes) = (start + 1, [UInt8]())
    while place < text.count {
      if text[place] == quote {
        guard place + 1 < text.count, text[place + 1] == quote else { break }
        place += 1
      }
      bytes.append(text[place])
      place += 1
    }
    guard place < text.count else { throw fault("its quotes are not closed", at: start) }
    let range = start..<(place + 1)
    guard !bytes.contains(0) else { throw fault("a text holds a NUL", at: start) }
    guard quote == UInt8(ascii: "\"") else { return Token(kind: .literal(.text(bytes)), bytes: range) }
    guard !bytes.isEmpty else { throw fault("a column has a name", at: start) }
    return Token(kind: .name(String(decoding: bytes, as: UTF8.self)), bytes: range)
  }

  private func number(at start: Int) throws -> Token {
    var end = start + 1
    while end < text.count {
      let isSign = text[end] == UInt8(ascii: "-") || text[end] == UInt8(ascii: "+")
      let isBehindExponent = text[end - 1] | 0x20 == UInt8(ascii: "e")
      guard
        Self.isDigit(text[end]) || Self.isLetter(text[end]) || text[end] == UInt8(ascii: ".")
          || isSign && isBehindExponent
      else { break }
      end += 1
    }
    guard let value = RowNumber(text[start..<end]) else {
      throw fault(
        "this is no number that is read: at most 128 bits, or a finite decimal\(quoting(start..<end))", at: start)
    }
    let literal: RowCondition.Literal =
      switch value {
      case .integer(let number): .integer(number)
      case .number(let number): .number(number)
      }
    return Token(kind: .literal(literal), bytes: start..<end)
  }

  /// How a column is written whose name is taken for a number, or for a name and a number; nothing where there is no name.
  private func quoting(_ part: Range<Int>) -> String {
    func isOfName(_ byte: UInt8) -> Bool {
      Self.isLetter(byte) || Self.isDigit(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
    }
    var (start, end) = (part.lowerBound, part.upperBound)
    while start > 0, isOfName(text[start - 1]) { start -= 1 }
    while end < text.count, isOfName(text[end]) { end += 1 }
    // An exponent is of a number.
    guard text[start..<end].contains(where: { Self.isLetter($0) && $0 | 0x20 != UInt8(ascii: "e") }) else { return "" }
    let name = String(decoding: text[start..<end], as: UTF8.self)
    return "; a column of this name is written in double quotes: \"\(name.printable)\""
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  /// What names are made of without quotes: letters of ASCII, the underscore, and whatever is not ASCII.
  private static func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_") || byte >= 0x80
  }

  // MARK: Faults

  private func fault(_ what: String, _ token: Token? = nil) -> TarnError {
    let token = token ?? peek
    guard !token.bytes.isEmpty else { return fault(what, at: text.count) }
    return fault(what, at: token.bytes.lowerBound, found: String(decoding: text[token.bytes], as: UTF8.self))
  }

  private func fault(_ what: String, at place: Int, found: String? = nil) -> TarnError {
    // Characters as people count them, from 1: bytes that begin a scalar.
    let number = text[..<place].count { $0 & 0xC0 != 0x80 } + 1
    let found = found.map { " ('\(String($0.unicodeScalars.prefix(30)).printable)')" } ?? ""
    let end = place == text.count ? " (its end)" : found
    return TarnError(
      .usage, "the condition is wrong at character \(number)\(end): \(what)",
      hint: "e.g. width >= 512 AND caption LIKE '%bicycle%'; docs/COMPANIONS.md has all of it")
  }
}
