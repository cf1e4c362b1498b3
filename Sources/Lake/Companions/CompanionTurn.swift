// Which companions are asked for a column by its name, in what order, and which of them are passed
// over as their files cannot be read.

internal import Base

/// A companion that is asked: for the columns that are named as its own, or for those of any companion.
struct CompanionTurn {
  let companion: String
  /// Whether it is asked for those that are named as its own.
  let isNamed: Bool
  /// All of them, by name.
  private let companions: [String]

  /// Who is named comes first, so that nobody else is opened for that.
  static func all(_ companions: [String]) -> [CompanionTurn] {
    [true, false].flatMap { isNamed in
      companions.map { CompanionTurn(companion: $0, isNamed: isNamed, companions: companions) }
    }
  }

  /// What it is asked for by a name; nil where that is not its turn.
  ///
  /// - Parameters:
  ///   - name: The name.
  ///   - withheld: Names whose own companion cannot tell whether it has them, so that nobody else is opened for them.
  /// - Returns: A column.
  func column(of name: String, withheld: Set<String>) -> String? {
    let isNamed = name.hasPrefix(companion + ".")
    guard isNamed == self.isNamed, isNamed || !withheld.contains(name) else { return nil }
    return isNamed ? String(name.dropFirst(companion.count + 1)) : name
  }

  /// Whether what it lacks concerns a name: not one that names another companion.
  func isMeant(by name: String) -> Bool { isNamed || !companions.contains { name.hasPrefix($0 + ".") } }
}

/// A companion's shard whose columns cannot be told.
struct UnreadableCompanion: Error {
  let error: TarnError
}

/// Such a shard, and the names that it was asked for.
struct PassedOverCompanion {
  let names: [String]
  let error: TarnError
}

extension TarnError {
  /// Whether it is of the bytes of a file, so that other files may be read.
  var isOfBytes: Bool { [.badFeatures, .integrity, .io].contains(code) }
}
