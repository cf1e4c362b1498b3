// Writes JSON as bytes: a value's one text, or the text that leaves this program, where what is hidden has escapes.

/// A JSON text under way.
package struct JSONWriter: Sendable {
  /// What is written so far, UTF-8.
  package private(set) var bytes: [UInt8] = []
  /// Whether what is not seen or changes how its surroundings are seen is escaped.
  private let escapesHidden: Bool

  /// A text that is still empty.
  ///
  /// - Parameter escapesHidden: Whether ``HiddenText`` is escaped, as in all that leaves the program.
  package init(escapesHidden: Bool) { self.escapesHidden = escapesHidden }

  /// Writes what is JSON already: brackets, names and the like.
  package mutating func append(raw text: StaticString) {
    text.withUTF8Buffer { unsafe bytes.append(contentsOf: $0) }
  }

  package mutating func append(_ value: Int64) { append(plain: String(value)) }

  package mutating func append(_ value: Double) { append(plain: value.isFinite ? "\(value)" : "null") }

  private mutating func append(plain text: String) { bytes.append(contentsOf: text.utf8) }

  /// Writes a string in its quotes.
  package mutating func append(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    let first = bytes.count
    bytes.append(contentsOf: text.utf8)
    let isPlain = bytes[first...].allSatisfy {
      $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
    }
    if !isPlain {
      bytes.removeSubrange(first...)
      for scalar in text.unicodeScalars { append(scalar) }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func append(_ scalar: Unicode.Scalar) {
    switch scalar {
    case "\"": append(raw: "\\\"")
    case "\\": append(raw: "\\\\")
    case "\n": append(raw: "\\n")
    case "\r": append(raw: "\\r")
    case "\t": append(raw: "\\t")
    case _ where scalar.value < 0x20 || escapesHidden && HiddenText.contains(scalar): append(plain: scalar.escapedJSON)
    default: append(plain: String(scalar))
    }
  }

  /// Writes a value: members of objects in the order of their names, without white space.
  package mutating func append(_ value: JSONValue) {
    switch value {
    case .null: append(raw: "null")
    case .bool(let value): append(raw: value ? "true" : "false")
    case .integer(let value): append(value)
    case .number(let value): append(value)
    case .string(let value): append(value)
    case .array(let values): append(array: values) { $0.append($1) }
    case .object(let members): append(members: members.sorted { $0.key < $1.key })
    }
  }

  /// Writes an object of members in the order that they have.
  package mutating func append(members: [(key: String, value: JSONValue)]) {
    append(raw: "{")
    for (place, member) in members.enumerated() {
      if place > 0 { append(raw: ",") }
      append(member.key)
      append(raw: ":")
      append(member.value)
    }
    append(raw: "}")
  }

  /// Writes an array.
  ///
  /// - Parameters:
  ///   - elements: What it is of.
  ///   - body: Writes one.
  package mutating func append<Element>(
    array elements: some Sequence<Element>, _ body: (inout JSONWriter, Element) throws -> Void
  ) rethrows {
    append(raw: "[")
    var isFirst = true
    for element in elements {
      if !isFirst { append(raw: ",") }
      isFirst = false
      try body(&self, element)
    }
    append(raw: "]")
  }
}
