// The body of a request to a program: a JSON object whose members are of their kinds, or refused by name.

internal import Base

/// A JSON object that somebody sent.
struct JSONBody {
  private let members: [String: JSONValue]
  /// Members that were read as floats.
  private let floats: [String: JSONFloats]

  /// Reads a body.
  ///
  /// - Parameters:
  ///   - body: JSON, whatever its content type says.
  ///   - names: Members that are meant to hold vectors.
  /// - Throws: ``TarnError`` `.usage` for what is no JSON object.
  init(_ body: [UInt8], floats names: [String] = []) throws {
    do {
      let (value, floats) = try JSONValue.reading(body, floatsOf: names)
      guard case .object(let members) = value else { throw TarnError(.usage, "the body is not a JSON object") }
      (self.members, self.floats) = (members, floats)
    } catch let fault as JSONFault {
      throw TarnError(.usage, "the body is no JSON: byte \(fault.offset): \(fault.message)")
    }
  }

  func has(_ name: String) -> Bool { members[name] != nil }

  /// Refuses members of other names: one that is spelt wrongly would do nothing.
  func require(only names: Set<String>) throws {
    guard let other = members.keys.filter({ !names.contains($0) }).min() else { return }
    throw TarnError(
      .usage, "there is no member '\(other.printable)'", hint: "they are \(names.sorted().joined(separator: ", "))")
  }

  /// A member; nil where it is null or not there.
  func value(_ name: String) -> JSONValue? { members[name].flatMap { $0 == .null ? nil : $0 } }

  func text(_ name: String) throws -> String? {
    guard let value = value(name) else { return nil }
    guard let text = value.string else { throw TarnError(.usage, "\(name) is not a string") }
    return text
  }

  func whole(_ name: String) throws -> Int? {
    switch value(name) {
    case nil: return nil
    case .integer(let number): return Int(number)
    case .number(let number) where Int(exactly: number) != nil: return Int(number)
    default: throw TarnError(.usage, "\(name) is not a whole number")
    }
  }

  func number(_ name: String) throws -> Double? {
    switch value(name) {
    case nil: return nil
    case .integer(let number): return Double(number)
    case .number(let number): return number
    default: throw TarnError(.usage, "\(name) is not a number")
    }
  }

  func flag(_ name: String) throws -> Bool? {
    switch value(name) {
    case nil: return nil
    case .bool(let flag): return flag
    default: throw TarnError(.usage, "\(name) is not true or false")
    }
  }

  /// Names, or all there are: true, false or an array of strings.
  enum Names {
    case nothing, everything
    case these([String])
  }

  func names(_ name: String) throws -> Names {
    switch value(name) {
    case nil, .bool(false): return .nothing
    case .bool(true): return .everything
    case .array(let elements):
      return .these(
        try elements.map { element in
          guard let text = element.string else { throw TarnError(.usage, "\(name) holds what is no string") }
          return text
        })
    default: throw TarnError(.usage, "\(name) is neither true, false nor an array of names")
    }
  }

  /// A vector: finite floats, not all zero.
  func vector(_ name: String) throws -> [Float]? {
    switch floats[name] {
    case nil: try value(name).map { try Self.vector($0, name) }
    case .row(let row): try Self.vector(row, name)
    case .rows: throw TarnError(.usage, "\(name) holds what is no number of float32")
    }
  }

  /// Vectors, an array of each.
  ///
  /// - Parameters:
  ///   - name: Of the member.
  ///   - most: How many there may be, one at least.
  /// - Returns: The vectors; nil where the member is no array.
  /// - Throws: ``TarnError`` `.usage` for what is no vector, and for too many.
  func vectors(_ name: String, atMost most: Int) throws -> [[Float]]? {
    func check(_ count: Int) throws {
      guard (1...most).contains(count) else {
        throw TarnError(.usage, "\(name) holds \(count) rows, not 1 to \(most)")
      }
    }
    switch floats[name] {
    case .rows(let rows):
      try check(rows.count)
      return try rows.map { try Self.vector($0, name) }
    case .row(let row):
      try check(row.count)
      throw TarnError(.usage, "\(name) is not an array of numbers")
    case nil:
      guard case .array(let rows)? = value(name) else { return nil }
      try check(rows.count)
      return try rows.map { try Self.vector($0, name) }
    }
  }

  /// An array of finite floats, not all zero.
  static func vector(_ value: JSONValue, _ name: String) throws -> [Float] {
    guard case .array(let elements) = value else { throw TarnError(.usage, "\(name) is not an array of numbers") }
    let floats = try elements.map { element in
      switch element {
      case .integer(let number): return Float(number)
      case .number(let number) where Float(number).isFinite: return Float(number)
      default: throw TarnError(.usage, "\(name) holds what is no number of float32")
      }
    }
    return try vector(floats, name)
  }

  private static func vector(_ floats: [Float], _ name: String) throws -> [Float] {
    guard floats.contains(where: { $0 != 0 }) else {
      throw TarnError(.usage, "\(name) holds zeros alone; no row is nearest to it")
    }
    guard floats.hasFiniteScores else {
      throw TarnError(.usage, "\(name) is so long that its scores are beyond float32")
    }
    return floats
  }
}
