// Help as a terminal shows it: paragraphs filled to its width, and examples that can
// be pasted. The parser lays out the options; it wraps other text as if its line ends meant something.

internal import ArgumentParser
internal import Base
internal import Foundation

/// The help of a command.
enum HelpText {
  /// Wide enough that the parser wraps nothing.
  private static let unwrapped = 100_000

  /// The whole help of a command.
  ///
  /// - Parameters:
  ///   - command: A verb, a group of verbs, or the tool.
  ///   - width: Columns of the terminal.
  /// - Returns: Lines of no more columns, as far as words allow.
  static func page(of command: any ParsableCommand.Type, width: Int) -> String {
    let usage = "\nUSAGE: "
    let prose = Tarn.helpMessage(for: command, columns: unwrapped).components(separatedBy: usage)[0]
    let options = Tarn.helpMessage(for: command, columns: width).components(separatedBy: usage).dropFirst()
    var lines = options.joined(separator: usage).components(separatedBy: "\n")
    lines[0] = call("USAGE: " + lines[0], width: width)
    // A verb's own options stand before those of most verbs.
    // The last one has an end of its own, wherever it goes.
    var sections = lines.joined(separator: "\n").components(separatedBy: "\n\n").map {
      $0.trimmingCharacters(in: .newlines)
    }.filter { !$0.isEmpty }
    if let own = sections.firstIndex(where: { $0.hasPrefix("OPTIONS:\n") }),
      let first = sections.firstIndex(where: {
        $0.contains("OPTIONS") || !$0.hasPrefix("USAGE") && !$0.hasPrefix("ARGUMENTS")
      })
    {
      sections.insert(sections.remove(at: own), at: min(first, own))
    }
    return filled(prose, width: width) + "\n" + sections.joined(separator: "\n\n")
  }

  /// How a command is called, broken between its arguments.
  private static func call(_ text: String, width: Int) -> String {
    var (lines, words) = ([""], [String]())
    var depth = 0
    for word in text.split(separator: " ") {
      // `[--shards <dir>]`, and an option with its value, stay on a line.
      let isValue = word.hasPrefix("<") && words.last.map { $0.hasPrefix("--") && !$0.contains(" ") } == true
      if depth > 0 || isValue { words[words.count - 1] += " " + word } else { words.append(String(word)) }
      depth += word.reduce(0) { $0 + ($1 == "[" ? 1 : $1 == "]" ? -1 : 0) }
    }
    for word in words {
      let candidate = lines[lines.count - 1].isEmpty ? word : "\(lines[lines.count - 1]) \(word)"
      if candidate.columnCount <= width || lines[lines.count - 1].isEmpty {
        lines[lines.count - 1] = candidate
      } else {
        lines.append("    " + word)
      }
    }
    return lines.joined(separator: "\n")
  }

  /// Fills paragraphs, and breaks indented command lines where a shell reads on.
  ///
  /// - Parameters:
  ///   - text: Paragraphs with a line end wherever the source has one. Lines that begin with a space stay lines.
  ///   - width: Columns of the terminal.
  /// - Returns: The text, broken anew.
  static func filled(_ text: String, width: Int) -> String {
    var lines: [String] = []
    var paragraph: [Substring] = []
    func end() {
      lines += wrapped(paragraph.flatMap { $0.split(separator: " ") }, width: width)
      paragraph = []
    }
    // What the source breaks already is one line again before it is broken anew.
    let text = text.replacing(/[ ]\\\n[ ]+/, with: " ")
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if let first = line.first, first != " ", !isHeading(line) {
        paragraph.append(line)
        continue
      }
      end()
      lines += line.first == " " ? broken(line, width: width) : [String(line)]
    }
    end()
    return lines.joined(separator: "\n")
  }

  private static func isHeading(_ line: Substring) -> Bool {
    line.allSatisfy { $0.isUppercase || $0 == " " }
  }

  private static func wrapped(_ words: [Substring], width: Int) -> [String] {
    var lines: [String] = []
    for word in words {
      if let last = lines.last, "\(last) \(word)".columnCount <= width {
        lines[lines.count - 1] = "\(last) \(word)"
      } else {
        lines.append(String(word))
      }
    }
    return lines
  }

  /// A command line that is too wide, in pieces with a backslash between them; a space in quotes is no place to break.
  private static func broken(_ line: Substring, width: Int) -> [String] {
    guard line.drop(while: { $0 == " " }).hasPrefix("tarn ") else { return [String(line)] }
    let indentation = String(line.prefix { $0 == " " })
    var lines: [String] = []
    var current = ""
    for word in words(line) {
      let candidate = current.isEmpty ? indentation + word : "\(current) \(word)"
      // An option stays with its value: only the dash of the next one begins a line.
      if word.hasPrefix("-"), candidate.columnCount > width - 2, !current.isEmpty {
        lines.append(current + " \\")
        current = indentation + "    " + word
      } else {
        current = candidate
      }
    }
    return lines + [current]
  }

  /// Words of a command line; an option and its value are one.
  private static func words(_ line: Substring) -> [String] {
    var words: [String] = []
    var quote: Character?
    var isOpen = false
    for piece in line.split(separator: " ") {
      let isValue = words.last.map { $0.hasPrefix("--") && !$0.contains(" ") } == true && !piece.hasPrefix("-")
      if isOpen || isValue {
        words[words.count - 1] += " " + piece
      } else {
        words.append(String(piece))
      }
      for character in piece {
        if character == quote { quote = nil } else if quote == nil, "'\"".contains(character) { quote = character }
      }
      isOpen = quote != nil
    }
    return words
  }
}
