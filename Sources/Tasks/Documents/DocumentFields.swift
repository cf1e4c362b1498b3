// Reads the members of a document that another process wrote: each is there, of its
// kind and in range, or the document is refused by name. Nothing is taken on trust.

package import Base

/// The members of one object of a document.
package struct DocumentFields {
  /// The document, and where in it the object lies, for messages.
  package let place: String
  private let members: [String: JSONValue]

  /// Reads a whole document.
  ///
  /// - Parameters:
  ///   - bytes: Its text.
  ///   - place: Its name, for messages.
  /// - Throws: ``TarnError`` `.integrity` for what is no JSON object.
  package init(reading bytes: [UInt8], in place: String) throws {
    let value: JSONValue
    do throws(JSONFault) {
      value = try JSONValue(reading: bytes)
    } catch {
      throw TarnError(.integrity, "\(place): no JSON of one meaning: \(error.message), at byte \(error.offset)")
    }
    try self.init(value, in: place)
  }

  private init(_ value: JSONValue, in place: String) throws {
    guard case .object(let members) = value else { throw TarnError(.integrity, "\(place) is no object") }
    self.place = place
    self.members = members
  }

  /// The error that a member is not what it must be.
  package func fault(_ name: String, _ what: String) -> TarnError {
    TarnError(.integrity, "\(place): '\(name)' is not \(what)")
  }

  private func value(_ name: String) -> JSONValue? {
    guard let value = members[name], value != .null else { return nil }
    return value
  }

  /// A text that must be there; one line of it, of at most 64 KiB.
  package func string(_ name: String) throws -> String {
    guard let text = try optionalString(name) else { throw fault(name, "there") }
    return text
  }

  /// A text that may be missing or null.
  package func optionalString(_ name: String) throws -> String? {
    guard let value = value(name) else { return nil }
    guard let text = value.string, text.utf8.count <= 1 << 16,
      !text.unicodeScalars.contains(where: { $0.value < 0x20 })
    else { throw fault(name, "a text of one line") }
    return text
  }

  /// A number that must be there.
  package func number(_ name: String, _ kind: ForeignNumber) throws -> Int {
    guard let number = try optionalNumber(name, kind) else { throw fault(name, "there") }
    return number
  }

  /// A number that may be missing or null.
  package func optionalNumber(_ name: String, _ kind: ForeignNumber) throws -> Int? {
    guard let value = value(name) else { return nil }
    guard let number = value.integer.map({ Int($0) }), kind.holds(number) else {
      throw fault(name, "a number of \(kind.range.lowerBound) to \(kind.range.upperBound)")
    }
    return number
  }

  /// A digest that must be there.
  package func digest(_ name: String) throws -> ContentDigest {
    guard let digest = try optionalDigest(name) else { throw fault(name, "there") }
    return digest
  }

  /// A digest that may be missing or null.
  package func optionalDigest(_ name: String) throws -> ContentDigest? {
    guard let text = try optionalString(name) else { return nil }
    guard let digest = ContentDigest(hex: text) else { throw fault(name, "a SHA-256") }
    return digest
  }

  /// A member that is an object; nil where it is missing.
  package func optionalObject(_ name: String) throws -> DocumentFields? {
    value(name) == nil ? nil : try object(name)
  }

  /// A truth value; false where it is missing.
  package func flag(_ name: String) throws -> Bool {
    guard let value = value(name) else { return false }
    guard case .bool(let flag) = value else { throw fault(name, "true or false") }
    return flag
  }

  /// One of some words.
  package func word<Word: RawRepresentable<String> & CaseIterable>(_ name: String, _: Word.Type) throws -> Word {
    guard let word = Word(rawValue: try string(name)) else {
      throw fault(name, "one of \(Word.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return word
  }

  /// An object that must be there.
  package func object(_ name: String) throws -> DocumentFields {
    guard let value = value(name) else { throw fault(name, "there") }
    return try DocumentFields(value, in: "\(place), '\(name)'")
  }

  /// Objects in order; none where the member is missing.
  package func objects(_ name: String) throws -> [DocumentFields] {
    guard let value = value(name) else { return [] }
    guard case .array(let values) = value else { throw fault(name, "an array") }
    return try values.enumerated().map { try DocumentFields($1, in: "\(place), '\(name)' \($0)") }
  }

  /// Digests in order.
  package func digests(_ name: String) throws -> [ContentDigest] {
    guard case .array(let values)? = value(name) else { throw fault(name, "an array") }
    return try values.map { value in
      guard let digest = value.string.flatMap({ ContentDigest(hex: $0) }) else {
        throw fault(name, "an array of SHA-256s")
      }
      return digest
    }
  }

  /// Numbers from 0 that ascend; none where the member is missing.
  ///
  /// - Parameters:
  ///   - name: The member.
  ///   - end: What all are below.
  /// - Returns: The numbers.
  /// - Throws: ``TarnError`` `.integrity`.
  package func ascendingNumbers(_ name: String, below end: Int) throws -> [Int] {
    guard let value = value(name) else { return [] }
    guard case .array(let values) = value else { throw fault(name, "an array") }
    var last = -1
    return try values.map { value in
      guard let number = value.integer.flatMap({ Int(exactly: $0) }), number > last, number < end else {
        throw fault(name, "an array of ascending numbers below \(end)")
      }
      last = number
      return number
    }
  }

  /// Requires the format that this tarn knows.
  package func requireFormat(_ format: String) throws {
    let found = try string("format")
    guard found == format else {
      throw TarnError(
        .schemaNewer, "\(place) is of the format '\(found.printable)', this tarn knows '\(format)'",
        hint: "use the tarn that wrote it")
    }
  }
}
