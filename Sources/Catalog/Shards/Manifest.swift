// What people know of shards before they fetch them, in the files they keep it in:
// lists of addresses, sizes, and digests as sha256sum writes them.

package import Base
internal import Foundation

/// Files that say what is known of shards beforehand.
package enum Manifest {
  /// The lines of a text file, trimmed, without empty ones and comments.
  ///
  /// - Parameter path: The file.
  /// - Returns: The lines, in order.
  /// - Throws: ``TarnError`` `.usage` when it is no UTF-8, `.inputsMissing` or
  ///   `.io` when it cannot be read.
  package static func lines(path: String) throws -> [String] {
    try lines(of: Disk.contents(of: path), from: path)
  }

  /// The lines of a text, likewise.
  ///
  /// - Parameters:
  ///   - bytes: The text.
  ///   - place: What it is from, for the message.
  /// - Returns: The lines, in order.
  /// - Throws: ``TarnError`` `.usage` when it is no UTF-8.
  package static func lines(of bytes: [UInt8], from place: String) throws -> [String] {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw TarnError(.usage, "\(place.withoutSecrets.printable) is not text in UTF-8")
    }
    // By bytes: a name may begin with a mark that joins what stands before it.
    return text.utf8.split { [0x0A, 0x0D].contains($0) }.map { trimmed($0) }.filter {
      !$0.isEmpty && $0.utf8.first != 0x23
    }
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  private static func trimmed(_ line: Substring.UTF8View) -> String {
    let start = line.drop(while: isBlank)
    return String(decoding: start.reversed().drop(while: isBlank).reversed(), as: UTF8.self)
  }

  /// What a line of a list of sizes says.
  package struct Size: Sendable, Equatable {
    package let byteCount: Int
    package let rowCount: Int?

    package init(byteCount: Int, rowCount: Int? = nil) {
      self.byteCount = byteCount
      self.rowCount = rowCount
    }
  }

  /// The name of a line and the one or two numbers behind it; the name may have
  /// spaces, commas and numbers, and ends where that makes it a shard's.
  ///
  /// - Returns: Nil for a line of another form.
  private static func numbersAtTheEnd(of line: String, _ shards: ShardPlaces) -> (name: String, numbers: [Int])? {
    var rest = Substring(line).utf8
    var numbers: [Int] = []
    while numbers.count < 2, numbers.isEmpty || !shards.has(String(decoding: rest, as: UTF8.self)) {
      let last = rest.reversed().prefix { !isBlank($0) && $0 != UInt8(ascii: ",") }.reversed()
      let before = rest.dropLast(last.count).reversed().drop { isBlank($0) || $0 == UInt8(ascii: ",") }.reversed()
      guard let number = Int(String(decoding: last, as: UTF8.self)), !before.isEmpty,
        before.count + last.count < rest.count
      else { break }
      numbers.insert(number, at: 0)
      rest = rest.prefix(before.count)
    }
    return numbers.isEmpty ? nil : (String(decoding: rest, as: UTF8.self), numbers)
  }

  /// Sizes from lines `NAME, BYTES` or `NAME, BYTES, ROWS`; blanks do for commas.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - shards: The shards; lines of others are ignored.
  /// - Returns: The size of each shard that has a line.
  /// - Throws: ``TarnError`` `.usage` naming the line.
  package static func sizes(path: String, of shards: ShardPlaces) throws -> [String: Size] {
    var facts = ShardFacts<Size>(of: shards, from: path)
    for (index, line) in try lines(path: path).enumerated() {
      let place = "\(path), entry \(index + 1)"
      guard let (name, numbers) = numbersAtTheEnd(of: line, shards) else {
        throw TarnError(.usage, "\(place): '\(line.printable)' is not 'NAME, BYTES' or 'NAME, BYTES, ROWS'")
      }
      let size = Size(
        byteCount: try ForeignNumber.byteCount.check(numbers[0], "a number of bytes", in: place),
        rowCount: try numbers.dropFirst().first.map {
          try ForeignNumber.rowCount.check($0, "a number of rows", in: place)
        })
      try facts.take(size, for: name)
    }
    return try facts.all()
  }

  /// Digests from lines as `sha256sum` writes them.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - shards: The shards; lines of others are ignored.
  /// - Returns: The digest of each shard that has a line.
  /// - Throws: ``TarnError`` `.usage` naming the line.
  package static func digests(path: String, of shards: ShardPlaces) throws -> [String: ContentDigest] {
    var facts = ShardFacts<ContentDigest>(of: shards, from: path)
    for (index, line) in try lines(path: path).enumerated() {
      let fields = line.utf8.split(maxSplits: 1, whereSeparator: isBlank)
      guard fields.count == 2, let digest = ContentDigest(hex: String(decoding: fields[0], as: UTF8.self)) else {
        throw TarnError(.usage, "\(path), entry \(index + 1): '\(line.printable)' is not 'SHA256  NAME'")
      }
      // A blank, then a blank or the star of what was read as bytes.
      let name = fields[1].drop { isBlank($0) || $0 == UInt8(ascii: "*") }
      try facts.take(digest, for: String(decoding: name, as: UTF8.self))
    }
    return try facts.all()
  }
}

/// Where shards are, as lists of files name them: by the ends of their paths.
package struct ShardPlaces: Sendable {
  /// For each shard's name, the parts of its paths on its mirrors, last first.
  fileprivate let paths: [String: [[String]]]

  /// Takes shards with their URLs.
  package init(names: [String], urls: [[String]]) {
    paths = Dictionary(
      zip(names, urls).map { name, urls in (name, urls.map(Self.parts)) }, uniquingKeysWith: { first, _ in first })
  }

  /// Whether a path ends in the name of a shard.
  fileprivate func has(_ path: String) -> Bool { paths[path.lastPathPart] != nil }

  private static func parts(of url: String) -> [String] {
    let path = url.prefix { $0 != "?" && $0 != "#" }
    return (String(path).removingPercentEncoding ?? String(path)).pathParts.reversed()
  }

  /// How many parts a path ends in that a shard's does too, the most of its mirrors.
  fileprivate func tail(of name: String, _ parts: [String]) -> Int {
    (paths[name] ?? []).map { own in zip(own, parts).prefix { $0 == $1 }.count }.max() ?? 0
  }
}

/// What a list says of shards, by the paths it names: of several that end in one
/// shard's name, the one counts that has the longest end in common with where the
/// shard is.
package struct ShardFacts<Value: Equatable> {
  private struct Fact {
    var value: Value
    var path: String
    var tail: Int
    /// Another path that is as good, and says something else.
    var rival: String?
  }

  private let places: ShardPlaces
  private let list: String
  private var facts: [String: Fact] = [:]

  /// Prepares to read a list.
  ///
  /// - Parameters:
  ///   - shards: The shards.
  ///   - list: Its file, for messages.
  package init(of shards: ShardPlaces, from list: String) {
    places = shards
    self.list = list
  }

  /// Takes what a line says; one of another file is passed over.
  ///
  /// - Throws: ``TarnError`` `.usage` for a path that has a line already.
  package mutating func take(_ value: Value, for path: String) throws {
    let parts = Array(path.pathParts.reversed())
    let name = parts.first ?? path
    guard places.paths[name] != nil else { return }
    let tail = places.tail(of: name, parts)
    guard var known = facts[name], known.tail >= tail else {
      facts[name] = Fact(value: value, path: path, tail: tail)
      return
    }
    guard known.path != path else { throw TarnError(.usage, "\(list) names \(path.printable) twice") }
    guard known.tail == tail, known.value != value else { return }
    known.rival = path
    facts[name] = known
  }

  /// What the list says, by the shards' names.
  ///
  /// - Throws: ``TarnError`` `.usage` when it says nothing of any, or two things of
  ///   one.
  package func all() throws -> [String: Value] {
    guard !facts.isEmpty else {
      throw TarnError(
        .usage, "\(list) names none of the source's shards", hint: "its names must be the URLs' file names")
    }
    for (name, fact) in facts.sorted(by: { $0.key < $1.key }) {
      guard let rival = fact.rival else { continue }
      throw TarnError(
        .usage, "\(list) names \(name) twice: \(fact.path.printable) and \(rival.printable)",
        hint: "leave the lines of other directories out")
    }
    return facts.mapValues(\.value)
  }
}
