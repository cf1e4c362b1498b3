// What a comparison found: everything that was held against something, each
// difference by the name of its field, and what was not checked and why. A
// verdict is never wider than its check.

package import Base

/// The outcome of holding statements against what they are about.
package struct StatementVerdict: Sendable, Equatable {
  /// A statement that does not hold.
  package struct Difference: Sendable, Hashable {
    /// The statement, as a path: `inputs[3].first_id`.
    package let field: String
    /// What it must be.
    package let expected: String
    /// What it is.
    package let found: String

    package init(_ field: String, expected: String, found: String) {
      self.field = field
      self.expected = expected
      self.found = found
    }

    /// One line: the field, what it is and what it must be.
    package var message: String { "\(field.printable) is \(found.printable), not \(expected.printable)" }
  }

  /// A statement that was not checked.
  package struct Omission: Sendable, Hashable {
    package let field: String
    /// Why not.
    package let reason: String

    package init(_ field: String, _ reason: String) {
      self.field = field
      self.reason = reason
    }

    /// One line.
    package var message: String { "\(field.printable): not checked, \(reason)" }
  }

  /// What was held against what, a phrase each.
  package private(set) var checked: [String] = []
  package private(set) var differences: [Difference] = []
  package private(set) var unchecked: [Omission] = []

  package init() {}

  /// Whether every statement that was checked holds.
  package var isClean: Bool { differences.isEmpty }

  /// Notes that something was compared.
  package mutating func check(_ what: String) { checked.append(what) }

  /// Notes a statement that does not hold.
  package mutating func differ(_ field: String, expected: String, found: String) {
    differences.append(Difference(field, expected: expected, found: found))
  }

  /// Notes a statement that is not checked.
  package mutating func leaveOut(_ field: String, because reason: String) {
    unchecked.append(Omission(field, reason))
  }

  /// Compares two values of one field, byte by byte.
  package mutating func compare(_ field: String, expected: String?, found: String?) {
    let isSame = expected.map { Array($0.utf8) } == found.map { Array($0.utf8) }
    if !isSame { differ(field, expected: expected ?? "nothing", found: found ?? "nothing") }
  }

  /// Compares two values member by member, and names each leaf that differs.
  ///
  /// An object's member that is null is as one that is not there.
  ///
  /// - Parameters:
  ///   - path: Where the values are; empty for a whole document.
  ///   - expected: What must be.
  ///   - found: What is.
  ///   - isLeftOut: Whether a path is of no concern.
  package mutating func compare(
    _ path: String, expected: JSONValue, found: JSONValue, leavingOut isLeftOut: (String) -> Bool = { _ in false }
  ) {
    guard !isLeftOut(path) else { return }
    switch (expected, found) {
    case (.object(let old), .object(let new)):
      for name in Set(old.keys).union(new.keys).sorted() {
        compare(
          path.isEmpty ? name : "\(path).\(name)", expected: old[name] ?? .null, found: new[name] ?? .null,
          leavingOut: isLeftOut)
      }
    case (.array(let old), .array(let new)):
      if old.count != new.count {
        differ("number of \(path)", expected: String(old.count), found: String(new.count))
      }
      for (index, pair) in zip(old, new).enumerated() {
        compare("\(path)[\(index)]", expected: pair.0, found: pair.1, leavingOut: isLeftOut)
      }
    default:
      let (old, new) = (expected.text, found.text)
      guard !old.utf8.elementsEqual(new.utf8) else { return }
      differ(path, expected: expected.plainText, found: found.plainText)
    }
  }

  /// Adds what another comparison found.
  ///
  /// - Parameters:
  ///   - other: The other verdict.
  ///   - isCompleted: Whether what it left out is checked here.
  package mutating func merge(_ other: StatementVerdict, isCompleted: Bool = false) {
    checked += other.checked
    differences += other.differences
    if !isCompleted { unchecked += other.unchecked }
  }

  /// What was not checked, each reason once; nil when there is nothing.
  package var uncheckedMessage: String? {
    var fields: [(reason: String, names: [String])] = []
    for omission in unchecked {
      if let place = fields.firstIndex(where: { $0.reason == omission.reason }) {
        fields[place].names.append(omission.field)
      } else {
        fields.append((omission.reason, [omission.field]))
      }
    }
    guard !fields.isEmpty else { return nil }
    return "not checked: " + fields.map { "\($0.names.joined(separator: ", ")) (\($0.reason))" }.joined(separator: "; ")
  }

  /// The first differences and the number of the rest, in one line.
  package var message: String {
    let named = differences.prefix(3).map(\.message).joined(separator: "; ")
    return differences.count > 3 ? "\(named); and \(differences.count - 3) more" : named
  }
}

extension JSONValue {
  /// A string without quotes, anything else as JSON; cut to what a line can hold.
  fileprivate var plainText: String {
    let whole = string ?? (self == .null ? "nothing" : text)
    return whole.unicodeScalars.count > 80 ? String(whole.unicodeScalars.prefix(80)) + "…" : whole
  }
}
