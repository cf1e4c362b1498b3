// JSON with one text for each value: what specifications and lock files are
// written in, so that their digests can be computed again by anybody.

/// A JSON value whose text is canonical: keys sorted, no white space.
package enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int64)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  package static func count(_ value: Int) -> JSONValue { .integer(Int64(value)) }
  package static func optional(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
  package static func optionalCount(_ value: Int?) -> JSONValue { value.map { .count($0) } ?? .null }
  package static func optionalNumber(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
  package static func strings(_ values: some Sequence<String>) -> JSONValue { .array(values.map { .string($0) }) }
  package static func counts(_ values: some Sequence<Int>) -> JSONValue { .array(values.map { .count($0) }) }

  /// Parses JSON; nil for what is none.
  package init?(parsing text: String) {
    guard let value = try? JSONReader.value(of: Array(text.utf8)) else { return nil }
    self = value
  }

  /// Reads JSON that somebody else wrote.
  ///
  /// - Parameters:
  ///   - bytes: UTF-8.
  ///   - wholeNumbers: What becomes of whole numbers that have more than 64 bits.
  ///   - isOfPython: Whether what Python's `json` writes beyond RFC 8259 is read: `NaN` and infinities as null, half a
  ///     surrogate pair as U+FFFD.
  /// - Throws: ``JSONFault`` for what is no JSON, or has more than one meaning.
  package init(
    reading bytes: [UInt8], wholeNumbers: WholeNumbers = .rounded, isOfPython: Bool = false
  ) throws(JSONFault) {
    self = try JSONReader.value(of: bytes, wholeNumbers: wholeNumbers, isOfPython: isOfPython)
  }

  /// What becomes of whole numbers that have more than 64 bits with their sign.
  package enum WholeNumbers: Sendable {
    /// The nearest binary64, as most readers do it.
    case rounded
    /// Their digits, as text: a key that is rounded is another one's.
    case kept
  }

  /// As ``init(reading:)``, with arrays of numbers that are members of the outermost object read as floats, which takes a
  /// tenth of the time.
  ///
  /// - Parameters:
  ///   - bytes: UTF-8.
  ///   - names: Of the members.
  /// - Returns: The value, in which an empty array stands for each that was read so, and those. An array that is not of
  ///   finite numbers of float32 alone is in the value as it is.
  /// - Throws: ``JSONFault`` as ``init(reading:)``.
  package static func reading(
    _ bytes: [UInt8], floatsOf names: [String]
  ) throws(JSONFault) -> (value: JSONValue, floats: [String: JSONFloats]) {
    try JSONReader.value(of: bytes, floatsOf: names)
  }

  /// A member of an object; nil where there is none, or no object.
  package subscript(_ name: String) -> JSONValue? {
    if case .object(let members) = self { members[name] } else { nil }
  }

  /// The values of an array; none of anything else.
  package var elements: [JSONValue] { if case .array(let values) = self { values } else { [] } }

  /// The text of a string; nil for anything else.
  package var string: String? { if case .string(let text) = self { text } else { nil } }

  /// A whole number; nil for anything else.
  package var integer: Int64? { if case .integer(let number) = self { number } else { nil } }

  /// A number of things; nil for anything else.
  package var count: Int? { integer.flatMap { Int(exactly: $0) } }

  /// The text for people: indented, keys sorted.
  package var indentedText: String { indented(by: 0) }

  private func indented(by depth: Int) -> String {
    let (margin, end) = (String(repeating: "  ", count: depth + 1), String(repeating: "  ", count: depth))
    switch self {
    case .array(let values) where !values.isEmpty:
      let lines = values.map { margin + $0.indented(by: depth + 1) }
      return "[\n\(lines.joined(separator: ",\n"))\n\(end)]"
    case .object(let members) where !members.isEmpty:
      let lines = members.sorted { $0.key < $1.key }.map { key, value in
        "\(margin)\(JSONValue.string(key).text): \(value.indented(by: depth + 1))"
      }
      return "{\n\(lines.joined(separator: ",\n"))\n\(end)}"
    default: return text
    }
  }

  /// The canonical text.
  package var text: String {
    var writer = JSONWriter(escapesHidden: false)
    writer.append(self)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  /// The canonical text, with escapes for what is hidden: the same value.
  package var escapedBytes: [UInt8] {
    var writer = JSONWriter(escapesHidden: true)
    writer.append(self)
    return writer.bytes
  }
}
