// How one pattern names every shard of a source.

internal import Base
internal import Foundation

/// A URL with the shard's ordinal left open: `…/img_emb_{ordinal:04}.npy`.
///
/// `{ordinal}` is the plain number; `{ordinal:04}` pads it with zeros to four
/// digits. A template without either names one shard.
package struct URLTemplate: Sendable, Equatable {
  package let text: String
  private let pieces: [Piece]

  private enum Piece: Sendable, Equatable {
    case literal(String)
    case ordinal(width: Int)
  }

  /// Parses a template.
  ///
  /// - Parameters:
  ///   - text: The template as the user wrote it.
  ///   - kept: Names of query items that the user knows to be harmless, lower case.
  /// - Throws: ``TarnError`` `.usage` for an unknown placeholder, a scheme
  ///   that tarn does not fetch, or what may be a secret in the URL.
  package init(parsing text: String, keeping kept: Set<String> = []) throws {
    self.text = text
    guard !CommandAddress.isOne(text) else {
      pieces = URLTemplate.piecesOfCommand(text)
      _ = try CommandAddress(url(ordinal: 0))
      return
    }
    guard text.isVisibleASCII else {
      throw TarnError(
        .usage, "the URL '\(text.printable)' has spaces, control or other than ASCII characters",
        hint: "percent-encode them")
    }
    var pieces: [Piece] = []
    var rest = Substring(text)
    while let open = rest.firstIndex(of: "{") {
      if open > rest.startIndex { pieces.append(.literal(String(rest[..<open]))) }
      guard let close = rest[open...].firstIndex(of: "}") else {
        throw TarnError(
          .usage, "the URL template '\(text.withoutSecrets.printable)' has an open '{'",
          hint: "write {ordinal} or {ordinal:04}")
      }
      let inside = rest[rest.index(after: open)..<close]
      if let width = URLTemplate.width(ofOrdinal: inside) {
        pieces.append(.ordinal(width: width))
      } else if EnvironmentPlace.isOne("{\(inside)}") {
        pieces.append(.literal("{\(inside)}"))
      } else {
        throw TarnError(
          .usage, "'{\(inside)}' in the URL template is not known",
          hint: "write {ordinal} or {ordinal:04}, or {env:NAME} for a variable of the environment")
      }
      rest = rest[rest.index(after: close)...]
    }
    if !rest.isEmpty { pieces.append(.literal(String(rest))) }
    self.pieces = pieces
    try URLTemplate.validate(url(ordinal: 0), keeping: kept)
  }

  /// The digits that what stands between braces asks for of the ordinal; nil where it is none.
  private static func width(ofOrdinal inside: Substring) -> Int? {
    if inside == "ordinal" { return 0 }
    guard inside.hasPrefix("ordinal:0"), let width = Int(inside.dropFirst(8)), (1...18).contains(width) else {
      return nil
    }
    return width
  }

  /// The places of the ordinal in a command, whose other braces are its own.
  private static func piecesOfCommand(_ text: String) -> [Piece] {
    var (pieces, literal, rest): ([Piece], String, Substring) = ([], "", text[...])
    while let first = rest.first {
      let close = rest.firstIndex(of: "}")
      let inside = first == "{" ? close.map { rest[..<$0].dropFirst() } : nil
      if let width = inside.flatMap(URLTemplate.width(ofOrdinal:)), let close {
        if !literal.isEmpty { pieces.append(.literal(literal)) }
        pieces.append(.ordinal(width: width))
        (literal, rest) = ("", rest[rest.index(after: close)...])
      } else {
        literal.append(first)
        rest = rest.dropFirst()
      }
    }
    return pieces + (literal.isEmpty ? [] : [.literal(literal)])
  }

  /// Whether the template names more than one shard.
  package var hasOrdinal: Bool {
    pieces.contains { if case .ordinal = $0 { true } else { false } }
  }

  /// The URL of a shard.
  package func url(ordinal: Int) -> String {
    pieces.map { piece in
      switch piece {
      case .literal(let text): text
      case .ordinal(let width): ordinal.padded(to: width)
      }
    }.joined()
  }

  /// Checks that a URL can be fetched and says nothing that may be a secret.
  ///
  /// - Parameters:
  ///   - url: An absolute URL.
  ///   - kept: Names of query items that the user knows to be harmless, lower case.
  /// - Throws: ``TarnError`` `.usage`.
  package static func validate(_ url: String, keeping kept: Set<String> = []) throws {
    guard !CommandAddress.isOne(url) else {
      _ = try CommandAddress(url)
      return
    }
    let address = AddressText(url)
    let shown = address.redacted(keeping: kept).printable
    guard url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
      throw TarnError(.usage, "the URL '\(shown)' has spaces or control characters", hint: "percent-encode them")
    }
    guard !address.scheme.isEmpty else {
      throw TarnError(
        .usage, "'\(shown)' is not a URL", hint: "write https://host/path, or file:///path for a local directory")
    }
    guard ["http", "https", "s3", "file"].contains(address.scheme) else {
      throw TarnError(
        .usage, "'\(address.scheme.printable)' URLs are not supported", hint: "use https, http, s3 or file")
    }
    guard !address.hasUserInfo else {
      throw TarnError(
        .usage, "the URL of host \(address.host.printable) holds a user name or password",
        hint: "the catalog keeps no credentials; leave it out of the URL, and "
          + AddressText.wayIn(to: address.machine))
    }
    guard address.authority.utf8.allSatisfy({ $0 < 0x7F && $0 != 0x7B }) else {
      throw TarnError(
        .usage, "the URL '\(shown)' has a host of other than ASCII characters, or one left open",
        hint: "write its name as the DNS does")
    }
    guard !address.hasFragment else {
      throw TarnError(
        .usage, "the URL '\(shown)' has a '#', behind which no server sees anything", hint: "leave it out")
    }
    if let item = address.doubtful(keeping: kept).first {
      throw TarnError(
        .usage, "the URL '\(shown)' may hold a secret, its query item '\(item.name.printable)'",
        hint: "write \(item.name.printable)={env:NAME} to have it from the environment; --keep-query "
          + "\(item.name.printable) if it is none")
    }
    let isOfHost =
      !address.authority.isEmpty && !url.utf8.dropFirst(address.scheme.utf8.count).starts(with: ":///".utf8)
    guard address.scheme == "file" ? address.authority.isEmpty : isOfHost else {
      throw TarnError(.usage, "the URL '\(shown)' has no host", hint: "write https://host/path")
    }
  }

  /// The file name a URL ends in, safe to use in the lake (S5).
  ///
  /// - Parameter url: An absolute URL.
  /// - Returns: Its last path component.
  /// - Throws: ``TarnError`` `.usage` when it has none or one that no shard can
  ///   have.
  package static func fileName(of url: String) throws -> String {
    guard !CommandAddress.isOne(url) else {
      throw TarnError(
        .usage, "a command does not say what its shards are called", hint: "say --shard-names 'part_{ordinal:04}.npy'")
    }
    let path = url.prefix { $0 != "?" && $0 != "#" }
    let encoded = path.split(separator: "/", omittingEmptySubsequences: false).last.map(String.init) ?? ""
    let name = encoded.removingPercentEncoding ?? encoded
    if let fault = LakeName.fault(ofShard: name) {
      throw TarnError(
        .usage, "the URL '\(url.withoutSecrets.printable)' does not end in a usable file name: \(fault)",
        hint: "a shard is called after the last part of its first URL")
    }
    return name
  }
}
