// Documents that say something else: one change at one place of a JSON value,
// drawn by a seed. And documents that say the same in other words.

package import Base

/// A change of a JSON value.
package struct DocumentMutation: Sendable {
  /// Where: `inputs[0].first_id`; `trained.spec/images[0].rows` in the JSON that a
  /// text holds.
  package let path: String
  package let value: JSONValue

  private enum Step {
    case member(String)
    case element(Int)
    /// Into the JSON that a string holds.
    case text
  }

  /// Draws a change.
  ///
  /// - Parameters:
  ///   - original: The value; the mutated one has another canonical text.
  ///   - random: Where draws come from.
  package init(of original: JSONValue, _ random: inout SplitMix64) {
    while true {
      var (path, value) = ("", original)
      let steps = Self.places(in: original)
      let place = steps[Int(random.next() % UInt64(steps.count))]
      value = Self.changed(original, at: place[...], &random)
      guard value.text != original.text else { continue }
      for step in place {
        switch step {
        case .member(let name): path += path.isEmpty || path.hasSuffix("/") ? name : ".\(name)"
        case .element(let index): path += "[\(index)]"
        case .text: path += "/"
        }
      }
      self.path = path
      self.value = value
      return
    }
  }

  private static func places(in value: JSONValue) -> [[Step]] {
    var found: [[Step]] = []
    func walk(_ value: JSONValue, _ path: [Step]) {
      if !path.isEmpty { found.append(path) }
      switch value {
      case .object(let members):
        for (name, member) in members.sorted(by: { $0.key < $1.key }) { walk(member, path + [.member(name)]) }
      case .array(let values):
        for (index, element) in values.enumerated() { walk(element, path + [.element(index)]) }
      case .string(let text):
        if text.hasPrefix("{"), let inner = JSONValue(parsing: text) { walk(inner, path + [.text]) }
      default: break
      }
    }
    walk(value, [])
    return found
  }

  private static func changed(_ value: JSONValue, at path: ArraySlice<Step>, _ random: inout SplitMix64) -> JSONValue {
    guard let step = path.first else { return other(than: value, &random) }
    let rest = path.dropFirst()
    switch (step, value) {
    case (.member(let name), .object(var members)):
      let draw = random.next() % 12
      if rest.isEmpty, draw == 0 {
        members[name] = nil
      } else if rest.isEmpty, draw == 1 {
        members[name + "_"] = members[name] ?? .null
      } else {
        members[name] = changed(members[name] ?? .null, at: rest, &random)
      }
      return .object(members)
    case (.element(let index), .array(var values)):
      let draw = random.next() % 12
      if rest.isEmpty, draw == 0 {
        values.remove(at: index)
      } else if rest.isEmpty, draw == 1 {
        values.insert(values[index], at: index)
      } else if rest.isEmpty, draw == 2 {
        values.swapAt(index, Int(random.next() % UInt64(values.count)))
      } else {
        values[index] = changed(values[index], at: rest, &random)
      }
      return .array(values)
    case (.text, .string(let text)):
      guard !rest.isEmpty, let inner = JSONValue(parsing: text) else { return .string(text + " ") }
      return .string(changed(inner, at: rest, &random).text)
    default: return value
    }
  }

  private static func other(than value: JSONValue, _ random: inout SplitMix64) -> JSONValue {
    let odd: [JSONValue] = [
      .null, .bool(true), .integer(0), .integer(-1), .integer(.max), .integer(.min), .number(1.5), .string(""),
      .string("../../etc/passwd"), .string("file:///etc/passwd"), .string("\u{1B}[2J"), .array([]), .object([:]),
    ]
    let draw = random.next()
    if draw % 5 == 0 { return odd[Int(random.next() % UInt64(odd.count))] }
    switch value {
    case .integer(let number): return .integer(number &+ (draw % 2 == 0 ? 1 : Int64(random.next() % 1000) - 500))
    case .bool(let truth): return .bool(!truth)
    case .string(let text) where !text.isEmpty:
      var scalars = Array(text.unicodeScalars)
      let place = Int(random.next() % UInt64(scalars.count))
      let letters = Array("0123456789abcdefxyz/._-@".unicodeScalars)
      scalars[place] = letters[Int(random.next() % UInt64(letters.count))]
      return .string(String(String.UnicodeScalarView(scalars)))
    default: return odd[Int(random.next() % UInt64(odd.count))]
    }
  }

  /// The same value in other words: members in another order, other white space,
  /// other escapes.
  ///
  /// - Parameters:
  ///   - value: The value.
  ///   - random: Where draws come from.
  /// - Returns: A text of it.
  package static func reworded(_ value: JSONValue, _ random: inout SplitMix64) -> String {
    func space() -> String { ["", " ", "\n", "\t ", "\r\n  "][Int(random.next() % 5)] }
    func write(_ value: JSONValue) -> String {
      switch value {
      case .object(let members):
        var names = members.keys.sorted()
        for index in names.indices.reversed() { names.swapAt(index, Int(random.next() % UInt64(index + 1))) }
        let parts = names.map { name in
          space() + write(.string(name)) + space() + ":" + space() + write(members[name] ?? .null) + space()
        }
        return "{" + parts.joined(separator: ",") + space() + "}"
      case .array(let values): return "[" + values.map { space() + write($0) + space() }.joined(separator: ",") + "]"
      case .string(let text):
        guard random.next() % 4 == 0, let first = text.unicodeScalars.first, first.value < 0x80 else {
          return value.text
        }
        let digits = String(first.value, radix: 16)
        let escaped = "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        return "\"" + escaped + JSONValue.string(String(text.unicodeScalars.dropFirst())).text.dropFirst()
      default: return value.text
      }
    }
    return space() + write(value) + space()
  }
}
