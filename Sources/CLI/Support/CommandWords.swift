// What the words of a command line mean before the parser reads them: which verb they
// name, and options of every verb that were written before it.

internal import ArgumentParser
internal import Base
internal import Foundation

/// The arguments of this process, in the order that the parser wants.
struct CommandWords {
  /// What the parser reads.
  let arguments: [String]
  /// The verb that they name, as far as they name one.
  let command: any ParsableCommand.Type
  /// The words of it, after `tarn`.
  let path: [String]
  /// A word in the place of a verb that is none.
  private let unknown: String?
  /// The verbs that could stand in its place.
  private let known: [String]

  /// Options of every verb, and whether a value follows.
  private static let globals = [
    "--lake": true, "--json": false, "--quiet": false, "-q": false, "--verbose": false, "-v": false,
  ]

  init(_ arguments: [String]) {
    var (early, rest) = Self.splitGlobals(arguments)
    // `tarn help source add` and `tarn source add --help` are one page.
    if rest.first == "help" {
      rest.removeFirst()
      rest.append("--help")
    }
    var commands: [any ParsableCommand.Type] = [Tarn.self]
    var unknown: String?
    for word in rest {
      let below = commands[commands.count - 1].configuration.subcommands
      guard !below.isEmpty, !word.hasPrefix("-") else { break }
      guard let next = below.first(where: { $0._commandName == word }) else {
        unknown = word
        break
      }
      commands.append(next)
    }
    command = commands[commands.count - 1]
    known = command.configuration.subcommands.map { $0._commandName }
    path = commands.dropFirst().map { $0._commandName }
    self.unknown = unknown
    early += rest.dropFirst(path.count)
    self.arguments = path + early
  }

  /// Takes options of every verb off the beginning.
  private static func splitGlobals(_ arguments: [String]) -> (early: [String], rest: [String]) {
    var count = 0
    while count < arguments.count {
      let word = arguments[count]
      if let takesValue = globals[word] {
        count += takesValue ? 2 : 1
      } else if word.hasPrefix("--lake=") {
        count += 1
      } else {
        break
      }
    }
    return (Array(arguments.prefix(count)), Array(arguments.dropFirst(count)))
  }

  /// As they would be typed.
  var text: String { (["tarn"] + path).joined(separator: " ") }

  /// The error of a word in the place of a verb that is none; nil when there is no such word.
  var unknownVerb: TarnError? {
    guard let unknown else { return nil }
    let like = known.filter { unknown.isLike($0) }.map { "'\($0)'" }
    return TarnError(
      .usage, "'\(unknown.printable)' is no verb of \(text)",
      hint: like.isEmpty ? help : "did you mean \(like.joined(separator: " or "))?")
  }

  private var help: String { "see `\(text) --help`" }

  /// A fault in the arguments.
  ///
  /// - Parameter message: What the parser says of it.
  /// - Returns: The error, with where help is.
  func fault(_ message: String) -> TarnError {
    var sentence = message.trimmingCharacters(in: .whitespacesAndNewlines)
    if sentence.hasSuffix(".") { sentence.removeLast() }
    return TarnError(.usage, path.isEmpty ? sentence : "\(path.joined(separator: " ")): \(sentence)", hint: help)
  }
}

extension String {
  /// Whether a few slips of the fingers lie between two words, or one begins the other.
  fileprivate func isLike(_ other: String) -> Bool {
    if count >= 3, other.hasPrefix(self) || hasPrefix(other) { return true }
    return Self.distance(Array(self), Array(other)) <= Swift.max(1, other.count / 3)
  }

  /// Letters to insert, take out, replace, or swap with their neighbour.
  private static func distance(_ a: [Character], _ b: [Character]) -> Int {
    var rows = [Array(0...b.count)]
    for i in 0..<a.count {
      var row = [i + 1]
      for j in 0..<b.count {
        var least = Swift.min(rows[i][j] + (a[i] == b[j] ? 0 : 1), rows[i][j + 1] + 1, row[j] + 1)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = Swift.min(least, rows[i - 1][j - 1] + 1) }
        row.append(least)
      }
      rows.append(row)
    }
    return rows[a.count][b.count]
  }
}
