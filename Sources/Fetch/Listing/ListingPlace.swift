// Places whose files are listed: a directory of a Hub's repository at a revision, a prefix
// of a store; how they are written, and which address a file of them has. Pure.

package import Base
internal import Foundation

/// A place whose files are listed.
package enum ListingPlace: Sendable, Equatable {
  case hub(HubDirectory)
  /// Of `s3://BUCKET/PREFIX/`, without the slashes at the prefix's ends.
  case store(bucket: String, prefix: String)

  /// Parses a place.
  ///
  /// - Parameters:
  ///   - text: `hf://…`, the address of a Hub's tree, or `s3://…`.
  ///   - hub: The Hub that `hf://` means, without a slash at its end.
  /// - Throws: ``TarnError`` `.usage`.
  package init(parsing text: String, hub: String) throws(TarnError) {
    let shown = WebAddress.redacted(text)
    guard text.isVisibleASCII else {
      throw TarnError(
        .usage, "the place '\(shown)' has spaces, control or other than ASCII characters", hint: "percent-encode them")
    }
    guard !text.contains("?"), !text.contains("#"), !AddressText(text).hasUserInfo else {
      throw TarnError(
        .usage, "the place '\(shown)' has a query, a '#', or a user's name", hint: "name the directory alone")
    }
    let scheme = text.prefix { $0 != ":" }.lowercased()
    switch scheme {
    case "hf": self = .hub(try HubDirectory(scheme: text, at: hub))
    case "http", "https": self = .hub(try HubDirectory(address: text))
    case "s3":
      let parts = text.dropFirst("s3://".count).split(separator: "/", omittingEmptySubsequences: true)
      let prefix = parts.dropFirst().joined(separator: "/")
      guard text.dropFirst(scheme.count).hasPrefix("://"), let bucket = parts.first else {
        throw TarnError(.usage, "not an S3 address: \(shown)", hint: S3Settings.hint("prefix/"))
      }
      self = .store(bucket: String(bucket), prefix: prefix.removingPercentEncoding ?? prefix)
    default:
      throw TarnError(
        .usage, "'\(shown)' is no place that can be listed", hint: ListingPlace.hint)
    }
  }

  static let hint =
    "write hf://datasets/ORG/NAME[@REVISION][/DIR], the address of such a tree, or s3://BUCKET/PREFIX/; a list of "
    + "addresses is --url-list's"

  /// The place as it is written, and read by ``init(parsing:hub:)`` again.
  package var text: String {
    switch self {
    case .hub(let directory): directory.text
    case .store(let bucket, let prefix):
      "s3://\(bucket)/" + (prefix.isEmpty ? "" : S3Settings.encoded(path: prefix) + "/")
    }
  }

  /// What the paths of its files begin with, with a slash at its end; "" for nothing.
  package var start: String {
    let directory =
      switch self {
      case .hub(let place): place.directory
      case .store(_, let prefix): prefix
      }
    return directory.isEmpty ? "" : directory + "/"
  }

  /// The revision of a Hub that was asked for; nil for the default branch, and of a store.
  package var revision: String? { if case .hub(let directory) = self { directory.revision } else { nil } }

  /// The same place at another revision.
  ///
  /// - Throws: ``TarnError`` `.usage` for a place without revisions.
  package func at(_ revision: String) throws(TarnError) -> ListingPlace {
    guard case .hub(var directory) = self else {
      throw TarnError(.usage, "\(text.printable) has no revisions", hint: "--revision is for a Hub's repositories")
    }
    try HubDirectory.check(revision: revision)
    directory.revision = revision
    return .hub(directory)
  }

  /// The address of a file.
  ///
  /// - Parameters:
  ///   - path: As the listing has it.
  ///   - commit: The commit that the listing is of; nil where nobody said one.
  /// - Returns: The address, percent-encoded.
  package func url(of path: String, at commit: String?) -> String {
    switch self {
    case .hub(let directory):
      directory.filesAddress + "\(directory.encodedRevision(commit))/\(S3Settings.encoded(path: path))"
    case .store(let bucket, _): "s3://\(bucket)/\(S3Settings.encoded(path: path))"
    }
  }

  /// The path that a file's address has in a listing, whatever its revision; nil for an
  /// address that is of no file here.
  package func path(of url: String) -> String? {
    switch self {
    case .hub(let directory):
      guard url.hasPrefix(directory.filesAddress) else { return nil }
      let rest = url.dropFirst(directory.filesAddress.count)
      guard let slash = rest.firstIndex(of: "/") else { return nil }
      return String(rest[rest.index(after: slash)...]).removingPercentEncoding
    case .store(let bucket, _):
      guard url.hasPrefix("s3://\(bucket)/") else { return nil }
      return String(url.dropFirst("s3://\(bucket)/".count)).removingPercentEncoding
    }
  }
}

/// A directory of a Hub's repository.
package struct HubDirectory: Sendable, Equatable {
  /// What a repository is, as the Hub's addresses have it.
  package enum Kind: String, Sendable, CaseIterable { case datasets, models, spaces }

  /// The Hub, without a slash at its end.
  package let endpoint: String
  package let kind: Kind
  /// `ORG/NAME`.
  package let repository: String
  /// A branch, a tag or a commit; nil for the default branch.
  package var revision: String?
  /// Without slashes at its ends; "" for the root.
  package let directory: String

  /// The Hub that everybody means.
  package static let defaultHub = "https://huggingface.co"
  private static let defaultRevision = "main"

  /// Reads `hf://[datasets/|spaces/]ORG/NAME[@REVISION][/DIR]`; without a kind it is models.
  fileprivate init(scheme text: String, at hub: String) throws(TarnError) {
    var parts = text.dropFirst("hf://".count).split(separator: "/", omittingEmptySubsequences: true).map(String.init)
    let kind = parts.first.flatMap(Kind.init(rawValue:))
    if kind != nil { parts.removeFirst() }
    guard text.lowercased().hasPrefix("hf://"), parts.count >= 2 else {
      throw TarnError(.usage, "'\(text.printable)' names no repository", hint: ListingPlace.hint)
    }
    let (organisation, named) = (
      parts[0], parts[1].split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
    )
    var rest = parts.dropFirst(2)
    var revision = named.count > 1 ? String(named[1]) : nil
    // Revisions with slashes that need no percent-encoding, as the Hub's own tools take them.
    if revision == "refs", rest.count >= 2, ["convert", "pr"].contains(rest[rest.startIndex]) {
      revision = "refs/\(rest.removeFirst())/\(rest.removeFirst())"
    }
    try self.init(
      endpoint: hub, kind: kind ?? .models, organisation: organisation, name: String(named[0]),
      revision: revision, directory: Array(rest), as: text)
  }

  /// Reads the address of a tree: `HUB/[api/]datasets/ORG/NAME/tree/REVISION[/DIR]`.
  fileprivate init(address text: String) throws(TarnError) {
    let address = AddressText(text)
    guard !address.authority.isEmpty, let mark = text.range(of: "://") else {
      throw TarnError(.usage, "'\(text.printable)' has no host", hint: ListingPlace.hint)
    }
    let parts = text[mark.upperBound...].split(separator: "/", omittingEmptySubsequences: true).map(String.init)
    // The path may begin with what a proxy adds.
    guard let tree = parts.firstIndex(of: "tree"), tree >= 4, tree + 1 < parts.count,
      let kind = Kind(rawValue: parts[tree - 3])
    else {
      throw TarnError(.usage, "'\(WebAddress.redacted(text))' is no address of a tree", hint: ListingPlace.hint)
    }
    let start = parts[tree - 4] == "api" ? tree - 4 : tree - 3
    guard start >= 1 else { throw TarnError(.usage, "'\(text.printable)' has no host", hint: ListingPlace.hint) }
    try self.init(
      endpoint: "\(address.scheme)://" + parts[..<start].joined(separator: "/"), kind: kind,
      organisation: parts[tree - 2],
      name: parts[tree - 1], revision: parts[tree + 1], directory: Array(parts[(tree + 2)...]), as: text)
  }

  private init(
    endpoint: String, kind: Kind, organisation: String, name: String, revision: String?, directory: [String],
    as text: String
  ) throws(TarnError) {
    let isName = { (text: String) in
      (1...96).contains(text.utf8.count) && text != "." && text != ".."
        && text.utf8.allSatisfy { $0.isLetterOrDigit || "-._".utf8.contains($0) }
    }
    guard isName(organisation), isName(name) else {
      throw TarnError(.usage, "'\(text.printable)' names no repository", hint: ListingPlace.hint)
    }
    let revision = revision.map { $0.removingPercentEncoding ?? $0 }
    if let revision { try Self.check(revision: revision) }
    let path = directory.map { $0.removingPercentEncoding ?? $0 }.joined(separator: "/")
    if !path.isEmpty, let fault = ListedFile.fault(ofPath: path) {
      throw TarnError(.usage, "'\(text.printable)' names no directory: \(fault)", hint: ListingPlace.hint)
    }
    self.endpoint = endpoint
    self.kind = kind
    repository = "\(organisation)/\(name)"
    self.revision = revision
    self.directory = path
  }

  /// - Throws: ``TarnError`` `.usage` for what can be no branch, tag or commit.
  fileprivate static func check(revision: String) throws(TarnError) {
    if let fault = ListedFile.fault(ofPath: revision) {
      throw TarnError(
        .usage, "'\(revision.printable)' is no revision: \(fault)", hint: "name a branch, a tag or a commit")
    }
  }

  fileprivate func encodedRevision(_ commit: String?) -> String {
    S3Settings.encoded(query: commit ?? revision ?? Self.defaultRevision)
  }

  private var isOfDefaultHub: Bool { endpoint == Self.defaultHub }

  fileprivate var text: String {
    let revision = revision.map { S3Settings.encoded(query: $0) }
    let rest = directory.isEmpty ? "" : "/" + S3Settings.encoded(path: directory)
    guard isOfDefaultHub else {
      return "\(endpoint)/\(kind.rawValue)/\(repository)/tree/\(revision ?? Self.defaultRevision)\(rest)"
    }
    return "hf://\(kind == .models ? "" : kind.rawValue + "/")\(repository)" + (revision.map { "@\($0)" } ?? "") + rest
  }

  /// What the addresses of all its files begin with, up to the revision.
  fileprivate var filesAddress: String {
    "\(endpoint)/\(kind == .models ? "" : kind.rawValue + "/")\(repository)/resolve/"
  }

  private var interface: String { "\(endpoint)/api/\(kind.rawValue)/\(repository)" }

  /// The address that says which commit the revision is.
  var revisionAddress: String { "\(interface)/revision/\(encodedRevision(nil))" }

  /// The address of the tree's first page, or of the one that a cursor is of.
  func pageAddress(at commit: String?, cursor: String?) -> String {
    "\(interface)/tree/\(encodedRevision(commit))"
      + (directory.isEmpty ? "" : "/" + S3Settings.encoded(path: directory))
      + "?recursive=true" + (cursor.map { "&cursor=\($0)" } ?? "")
  }
}
