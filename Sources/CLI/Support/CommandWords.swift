// What the words of a command line mean before the parser reads them: which verb they
// name, and options of every verb that were written before it.

internal import ArgumentParser
internal import Base
internal import Foundation

/// The arguments of this process, in the order that the parser wants.
struct CommandWords {
  /// What the parser reads.
  var arguments: [String] { path + own }
  /// What stands behind the verb's name.
  let own: [String]
  /// The verb that they name, as far as they name one.
  let command: any ParsableCommand.Type
  /// The words of it, after `tarn`.
  let path: [String]
  /// A word in the place of a verb that is none.
  private let unknown: String?
  /// The verbs that could stand in its place.
  private let known: [String]
  /// Options of every verb, where nothing follows them.
  private let alone: [String]

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
    alone = rest.isEmpty ? early : []
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
    own = early + rest.dropFirst(path.count)
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

  /// The error of a word in the place of a verb that is none, or of options that no verb follows; nil when
  /// there is no such word.
  var unknownVerb: TarnError? {
    if let last = alone.last {
      return Self.globals[last] == true && (alone.dropLast().last.flatMap { Self.globals[$0] } != true)
        ? TarnError(
          .usage, "the value of \(last) is missing", hint: "name the lake's directory, and then a verb: \(help)")
        : TarnError(.usage, "no verb follows \(alone.joined(separator: " ").printable)", hint: help)
    }
    guard let unknown else { return nil }
    return TarnError(
      .usage, "'\(unknown.printable)' is no verb of \(text)", hint: NearWords.question(unknown, among: known) ?? help)
  }

  private var help: String { "see `\(text) --help`" }

  /// What can stand where the parser takes none of what does, by what its help calls it.
  private static let examples = [
    "time": "write a time as 30s, 10m, 2h or 1d", "duration": "write a time as 30s, 10m, 2h or 1d",
    "size": "write a size as 500MB, 100GB or 64MiB",
    "rate": "write a rate with its unit, as 50MB/s, or a timetable, as '08:00,10MB/s 19:00,off'",
  ]

  /// A fault in the arguments.
  ///
  /// - Parameter message: What the parser says of it.
  /// - Returns: The error, with where help is.
  func fault(_ message: String) -> TarnError {
    var sentence = message.trimmingCharacters(in: .whitespacesAndNewlines)
    if sentence.hasSuffix(".") { sentence.removeLast() }
    // Where the parser does not say itself what it takes.
    let example = Self.examples.first { sentence.contains(" is invalid for '") && sentence.hasSuffix("<\($0.key)>'") }
    return TarnError(
      .usage, path.isEmpty ? sentence : "\(path.joined(separator: " ")): \(sentence)",
      hint: example.map { "\($0.value); \(help)" } ?? help)
  }
}
