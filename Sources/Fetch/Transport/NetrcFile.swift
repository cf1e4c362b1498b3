// Names and passwords of machines, as curl reads them in a netrc file. Pure: which file that
// is, and where what it says is sent, is Credentials' to decide.

internal import Foundation

/// Who asks which machine, as a netrc file says it.
///
/// Nothing shows it, not even `dump`.
package struct NetrcFile: Sendable, CustomStringConvertible, CustomReflectable {
  /// The most bytes that such a file has.
  package static let mostByteCount = 64 << 10

  /// What is wrong with a file, and in which line.
  package struct Fault: Error, Equatable {
    package let line: Int
    package let message: String
  }

  /// What the next token is.
  private enum Wanted { case word, machine, login, password, skipped }

  private struct Entry {
    var login: [UInt8]?
    var password: [UInt8]?
  }

  private var entries: [String: Entry] = [:]

  package var description: String { "REDACTED" }
  package var customMirror: Mirror { Mirror(self, children: []) }

  /// A file that names no machine.
  package init() {}

  /// Reads a file: of a machine what is said first counts; `default` and macros do not.
  ///
  /// - Parameter bytes: All of it.
  /// - Throws: ``Fault``, and then nothing of the file counts.
  /// - SeeAlso: https://everything.curl.dev/usingcurl/netrc.html
  package init(_ bytes: [UInt8]) throws(Fault) {
    var (wanted, isMacro) = (Wanted.word, false)
    // Nil in `default`, and where the file named the machine before.
    var machine: String?
    for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
      if isMacro {
        isMacro = !line.allSatisfy(Self.isBlank)
        continue
      }
      var rest = line
      while let token = try Self.token(&rest, inLine: index + 1) {
        switch wanted {
        case .word:
          switch String(decoding: token, as: UTF8.self).lowercased() {
          case "machine": wanted = .machine
          case "default": machine = nil
          case "login": wanted = .login
          case "password": wanted = .password
          case "account": wanted = .skipped
          case "macdef":
            isMacro = true
            rest = []
          default: break
          }
          continue
        case .machine:
          let name = Self.key(String(decoding: token, as: UTF8.self))
          machine = entries[name] == nil ? name : nil
          if machine != nil { entries[name] = Entry() }
        case .login, .password:
          guard token.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw Fault(line: index + 1, message: "a login or password with a control character")
          }
          guard let machine else { break }
          var entry = entries[machine] ?? Entry()
          if wanted == .login { entry.login = entry.login ?? token } else { entry.password = entry.password ?? token }
          entries[machine] = entry
        case .skipped: break
        }
        wanted = .word
      }
    }
  }

  /// Takes the next token of a line; nil at its end, or where a comment begins.
  private static func token(_ rest: inout ArraySlice<UInt8>, inLine line: Int) throws(Fault) -> [UInt8]? {
    rest = rest.drop(while: isBlank)
    guard let first = rest.first, first != 0x23 else { return nil }
    guard first == 0x22 else {
      let token = rest.prefix { !isBlank($0) }
      rest = rest[token.endIndex...]
      return Array(token)
    }
    var (token, isEscaped): ([UInt8], Bool) = ([], false)
    for index in rest.indices.dropFirst() {
      let byte = rest[index]
      switch (isEscaped, byte) {
      case (false, 0x5C):
        isEscaped = true
        continue
      case (false, 0x22):
        rest = rest[(index + 1)...]
        return token
      case (true, 0x6E): token.append(0x0A)
      case (true, 0x72): token.append(0x0D)
      case (true, 0x74): token.append(0x09)
      default: token.append(byte)
      }
      isEscaped = false
    }
    throw Fault(line: line, message: "a quote that does not end")
  }

  /// White space within a line.
  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

  /// A machine as entries are found by it.
  private static func key(_ host: String) -> String {
    (host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host).lowercased()
  }

  /// What `Authorization` says to a machine (RFC 7617); nil where the file names none of its own for it.
  ///
  /// - Parameter host: As an address has it.
  /// - Returns: The field's value.
  package func authorization(for host: String) -> String? {
    guard let entry = entries[Self.key(host)], entry.login != nil || entry.password != nil else { return nil }
    return "Basic " + Data((entry.login ?? []) + [0x3A] + (entry.password ?? [])).base64EncodedString()
  }
}
