// The address of a shard that a command writes: `command:WORDS {input=PATH}…`. How it
// is split into words, what stands for its paths, and which files it declares to read.
// Nothing here runs anything.
//
// Words are separated by blanks; '…' and "…" hold blanks, a backslash takes the next
// character as it is. There is no shell: no variable, pattern, pipe or redirection, and
// what stands for a path becomes one argument, whatever the path is.

/// A command that writes one shard.
package struct CommandAddress: Sendable, Equatable {
  package static let prefix = "command:"
  /// Most bytes of an address.
  private static let mostByteCount = 8_192

  /// Whether an address is a command's.
  package static func isOne(_ address: some StringProtocol) -> Bool {
    address.utf8.prefix(prefix.utf8.count).elementsEqual(prefix.utf8)
  }

  /// The address without what it declares, as the user wrote it.
  package let line: String
  /// The program and its arguments, with `{output}`, `{input}` and `{input:2}` in them.
  package let words: [String]
  /// Absolute paths of the files that it reads, in order.
  package let inputs: [String]

  /// Reads the address of a shard, whose ordinal is filled in.
  ///
  /// - Parameter address: The address.
  /// - Throws: ``TarnError`` `.usage` saying what is wrong with it.
  package init(_ address: String) throws(TarnError) {
    guard Self.isOne(address), address.utf8.count <= Self.mostByteCount,
      !address.unicodeScalars.contains(where: { HiddenText.contains($0) })
    else {
      throw Self.error(address, "a command is up to \(Self.mostByteCount) bytes of characters that can be seen")
    }
    var rest = address.dropFirst(Self.prefix.count)
    var inputs: [String] = []
    while rest.hasSuffix("}"), let open = rest.range(ofLast: " {input=") {
      inputs.insert(String(rest[open.upperBound...].dropLast()), at: 0)
      rest = rest[..<open.lowerBound]
    }
    for input in inputs {
      guard input.hasPrefix("/"), !input.contains("{"), !input.contains("}") else {
        throw Self.error(address, "the input '\(input.printable)' is not the absolute path of a file")
      }
    }
    line = String(rest)
    words = try Self.words(rest, of: address)
    self.inputs = inputs
    try check(address)
  }

  private func check(_ address: String) throws(TarnError) {
    guard let program = words.first, !program.isEmpty, !program.contains("{") else {
      throw Self.error(address, "it names no program")
    }
    for mark in ["{ordinal", "{env:", "{input="] where line.contains(mark) {
      throw Self.error(
        address, "'\(mark)…' stands where it is not known",
        hint: mark == "{env:"
          ? "a command has the environment itself"
          : "write {ordinal} or {ordinal:04}, and inputs with --input")
    }
    guard words.contains(where: { $0.contains("{output}") }) else {
      throw Self.error(address, "it is not told where to write", hint: "put {output} where it takes a path")
    }
    for word in words { _ = try Self.filled(word, output: "", inputs: inputs, of: address) }
    // What a shell reads as its script must not be put together from paths.
    let shells: Set<Substring> = ["sh", "bash", "dash", "ash", "zsh", "ksh", "fish"]
    guard let name = program.split(separator: "/").last, shells.contains(name) else { return }
    for (flag, script) in zip(words.dropFirst(), words.dropFirst(2))
    where flag.hasPrefix("-") && flag.hasSuffix("c") && (script.contains("{output}") || script.contains("{input")) {
      throw Self.error(
        address, "a path would become part of a shell's script",
        hint: "hand it over as an argument: sh -c 'embed > \"$1\"' sh {output}")
    }
  }

  /// The program and its arguments.
  ///
  /// - Parameter output: The path to write to.
  /// - Returns: What is executed.
  /// - Throws: ``TarnError`` `.usage`; not for an address that was read.
  package func arguments(writing output: String) throws(TarnError) -> [String] {
    var filled: [String] = []
    for word in words { filled.append(try Self.filled(word, output: output, inputs: inputs, of: line)) }
    return filled
  }

  /// The command as it may be shown, on one line.
  package var shown: String { line.printable }

  /// Puts paths in, in one pass: what a path holds is not looked at again.
  private static func filled(
    _ word: String, output: String, inputs: [String], of address: String
  ) throws(TarnError) -> String {
    var (result, rest) = ("", word[...])
    while let open = rest.utf8.firstIndex(of: 0x7B) {
      result += rest[..<open]
      rest = rest[open...]
      if rest.hasPrefix("{output}") {
        result += output
        rest = rest.dropFirst("{output}".count)
      } else if rest.hasPrefix("{input}") || rest.hasPrefix("{input:") {
        guard let close = rest.firstIndex(of: "}") else { throw error(address, "it has an open '{input'") }
        let inside = rest[..<close].dropFirst("{input".count)
        guard let number = inside.isEmpty ? 1 : Int(inside.dropFirst()), inputs.indices.contains(number - 1) else {
          throw error(
            address, "\(rest[...close]) stands for no input", hint: "declare inputs with --input, in their order")
        }
        result += inputs[number - 1]
        rest = rest[rest.index(after: close)...]
      } else {
        result += "{"
        rest = rest.dropFirst()
      }
    }
    return result + rest
  }

  private static func words(_ line: Substring, of address: String) throws(TarnError) -> [String] {
    do throws(QuotedWords.Fault) {
      // Of white space an address has blanks alone.
      return try QuotedWords.split(line)
    } catch {
      switch error {
      case .backslash: throw Self.error(address, "it ends with a backslash")
      case .quotation: throw Self.error(address, "a quotation mark is left open")
      }
    }
  }

  private static func error(_ address: String, _ cause: String, hint: String? = nil) -> TarnError {
    TarnError(.usage, "the command '\(address.dropFirst(prefix.count).printable)': \(cause)", hint: hint)
  }

  /// The address of a command with the inputs that it declares.
  ///
  /// - Parameters:
  ///   - template: `command:…`, with or without inputs.
  ///   - inputs: Templates of paths, or `file://` addresses; relative ones are below `directory`.
  ///   - directory: The working directory.
  /// - Returns: The template that holds both.
  /// - Throws: ``TarnError`` `.usage` for an input that is no file of this machine.
  package static func template(
    _ template: String, reading inputs: [String], below directory: @autoclosure () -> String
  ) throws(TarnError) -> String {
    guard isOne(template) || inputs.isEmpty else {
      throw TarnError(.usage, "--input goes with a mirror that is a command", hint: "write command:PROGRAM … {output}")
    }
    var result = template
    for input in inputs {
      var path = input
      if input.hasPrefix("file:///") {
        path = String(input.dropFirst("file://".count))
        guard !path.contains("%") else {
          throw TarnError(.usage, "the input '\(input.printable)' is percent-encoded", hint: "write its path")
        }
      } else if input.contains("://") {
        throw TarnError(
          .usage, "the input '\(input.printable)' is not a file of this machine",
          hint: "fetch it first and name the file; tarn hashes what a command reads")
      }
      if !path.hasPrefix("/") { path = directory() + "/" + path }
      // What is left of braces would end the input, and begin another.
      let rest = path.replacing(/\{ordinal(?::0[0-9]+)?\}/, with: "")
      guard !rest.contains("{"), !rest.contains("}") else {
        throw TarnError(
          .usage, "the input '\(input.printable)' has braces that are not {ordinal} or {ordinal:04}",
          hint: "give the file a name without braces, or a link to it")
      }
      result += " {input=\(path)}"
    }
    return result
  }
}

extension Substring {
  /// Where a text stands last.
  fileprivate func range(ofLast text: String) -> Range<Index>? {
    var found: Range<Index>?
    var from = startIndex
    while from < endIndex {
      if self[from...].hasPrefix(text) { found = from..<index(from, offsetBy: text.count) }
      from = index(after: from)
    }
    return found
  }
}
