// The project's own files, as the tests of this directory read them.

import Foundation

/// One file of the source tree.
struct SourceFile: Sendable {
  /// Its path below the project's root.
  let path: String
  let text: String

  /// The text without comments; lines and strings stay where they are.
  let code: String

  init(path: String, text: String) {
    self.path = path
    self.text = text
    code = Self.withoutComments(text)
  }

  /// The directory of that number on the way to it: of `Sources/Catalog/Rows/x.swift`
  /// number 1 is `Catalog`.
  func directory(_ number: Int) -> String? {
    let parts = path.split(separator: "/").dropLast()
    return number < parts.count ? String(parts[number]) : nil
  }

  /// Every match of an expression in the code, with the number of its line.
  func matches<Output>(_ expression: Regex<Output>) -> [(match: Regex<Output>.Match, line: Int)] {
    var line = 1
    var counted = code.startIndex
    return code.matches(of: expression).map { match in
      line += code[counted..<match.range.lowerBound].count { $0 == "\n" }
      counted = match.range.lowerBound
      return (match, line)
    }
  }

  /// The words of some code, of letters and digits of ASCII and the underscore.
  ///
  /// By its bytes: an expression takes a hundred times as long.
  static func words(of code: Substring) -> [Substring] {
    code.utf8.split { !isOfWord($0) }.map { Substring($0) }
  }

  private static func isOfWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
      true
    default: false
    }
  }

  /// The lines that hold some bytes: what an expression need not look at is most of a file.
  func lines(holding text: String) -> [Substring] {
    let wanted = Array(text.utf8)
    return self.text.utf8.split(separator: UInt8(ascii: "\n")).filter { line in
      var rest = line[...]
      while let start = rest.firstIndex(of: wanted[0]) {
        rest = rest[start...]
        if rest.starts(with: wanted) { return true }
        rest = rest.dropFirst()
      }
      return false
    }
    .map { Substring($0) }
  }

  /// Takes away the comments of Swift and C.
  private static func withoutComments(_ text: String) -> String {
    var kept: [UInt8] = []
    var rest = Array(text.utf8)[...]
    /// Takes bytes up to and with the end of what began `opening`.
    func take(through end: String, after opening: Int, escapes: Bool = false, keeping: Bool = true) {
      let first = end.utf8.first
      var index = rest.startIndex + opening
      while index < rest.endIndex, rest[index] != first || !rest[index...].starts(with: end.utf8) {
        index += escapes && rest[index] == UInt8(ascii: "\\") ? 2 : 1
      }
      let taken = rest[..<min(rest.endIndex, index + end.utf8.count)]
      kept += keeping ? taken : taken.filter { $0 == UInt8(ascii: "\n") }[...]
      rest = rest[taken.endIndex...]
    }
    /// Whether anything but code can begin with it.
    func isMark(_ byte: UInt8) -> Bool {
      [UInt8(ascii: "/"), UInt8(ascii: "\""), UInt8(ascii: "'")].contains(byte)
    }
    while let byte = rest.first {
      if rest.starts(with: "//".utf8) {
        take(through: "\n", after: 2, keeping: false)
      } else if rest.starts(with: "/*".utf8) {
        take(through: "*/", after: 2, keeping: false)
      } else if rest.starts(with: "\"\"\"".utf8) {
        take(through: "\"\"\"", after: 3, escapes: true)
      } else if rest.starts(with: "'\"'".utf8) {
        take(through: "'", after: 1)
      } else if byte == UInt8(ascii: "\"") {
        take(through: "\"", after: 1, escapes: true)
      } else {
        let code = rest.dropFirst().firstIndex(where: isMark) ?? rest.endIndex
        kept += rest[..<code]
        rest = rest[code...]
      }
    }
    return String(decoding: kept, as: UTF8.self)
  }
}

/// The project's directory, found from where this file was compiled.
enum SourceTree {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../..").standardized

  /// Every Swift and C file of the product, read once for all tests.
  static let sources = Result { try files(in: "Sources", ".swift", ".c", ".h", ".cpp") }

  /// The Swift files of the product.
  ///
  /// - Returns: The files.
  /// - Throws: When one cannot be read.
  static func swiftSources() throws -> [SourceFile] { try sources.get().filter { $0.path.hasSuffix(".swift") } }

  /// The files below a directory, in order of their paths.
  ///
  /// - Parameters:
  ///   - directory: Below the root, `Sources`.
  ///   - suffixes: Endings of the names wanted, `.swift`.
  /// - Returns: The files.
  /// - Throws: When the directory or a file cannot be read.
  static func files(in directory: String, _ suffixes: String...) throws -> [SourceFile] {
    try paths(in: directory, suffixes).map(file)
  }

  /// The paths of those files, none of which is read.
  static func paths(in directory: String, _ suffixes: [String]) throws -> [String] {
    let place = root.appendingPathComponent(directory)
    guard let paths = FileManager.default.enumerator(atPath: place.path) else { throw CocoaError(.fileNoSuchFile) }
    return paths.compactMap { $0 as? String }
      .filter { path in suffixes.contains { path.hasSuffix($0) } }
      .sorted()
      .map { "\(directory)/\($0)" }
  }

  /// One file.
  static func file(_ path: String) throws -> SourceFile {
    SourceFile(path: path, text: try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8))
  }
}
