// What an index version is called.

/// `NAME@N`.
package struct VersionName: Hashable, Sendable, CustomStringConvertible {
  package let name: String
  package let number: Int

  package init(name: String, number: Int) {
    self.name = name
    self.number = number
  }

  /// Parses `NAME@N`.
  ///
  /// - Parameter text: What the user wrote.
  /// - Throws: ``TarnError`` `.usage` for anything else.
  package init(parsing text: String) throws {
    let parts = text.split(separator: "@", omittingEmptySubsequences: false)
    guard parts.count == 2, LakeName.isValid(String(parts[0])), let number = Int(parts[1]), number >= 1,
      // One spelling for each: @01 is none.
      parts[1] == "\(number)"
    else {
      throw TarnError(
        .usage, "'\(text.printable)' is not an index version",
        hint: "write NAME@N, e.g. laion@1; `tarn versions` lists them")
    }
    self.init(name: String(parts[0]), number: number)
  }

  package var description: String { "\(name)@\(number)" }
}
