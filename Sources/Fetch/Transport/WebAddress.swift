// Addresses, parsed by the same parser that will open them (libcurl's), and
// how they may be shown.

package import Base
internal import CCurl
internal import Foundation

/// An `http`, `https` or `file` address, or a command.
package struct WebAddress: Sendable, Equatable {
  package enum Scheme: String, Sendable { case http, https, file, command }

  package let scheme: Scheme
  /// The address as it will be opened, without a fragment.
  package let url: String
  /// `scheme://host:port` in lower case: what headers and limits belong to.
  package let origin: String
  /// The host as it stands in the address, and its port; "" and 0 in a `file` one.
  let host: String
  let port: Int
  /// The decoded path of a `file` address.
  package let filePath: String
  /// Whether requests are signed as S3 wants it.
  let isSigned: Bool
  /// What is run, if it is a command.
  let command: CommandAddress?
  /// The address as it is recorded: an `s3://` one is kept as such, and places
  /// that the environment fills in stay places (R18, S4).
  private let canonical: String
  /// S6: how far inside the network a connection for it may lead; nil for a
  /// mirror's own address that its user chose, which may be anywhere.
  var reach: AddressScope?
  /// Whether a document brought it, and no redirect.
  var isOfDocument = false
  /// S9: whether the user named it, or a redirect on the same origin led to it from there.
  var isOwn = false
  /// Names of its query items that are shown; none of a redirect's are.
  var keptQuery: Set<String> = []

  /// What stands for the host of commands: they wait for each other as shards of one do.
  static let originOfCommands = "command:"

  /// The address of a shard that a command writes.
  ///
  /// - Throws: ``TarnError`` `.usage` if it is none.
  init(command text: String) throws(TarnError) {
    command = try CommandAddress(text)
    (scheme, url, canonical, origin) = (.command, text, text, Self.originOfCommands)
    (host, port, filePath, isSigned) = ("", 0, "", false)
  }

  /// Parses an absolute address.
  ///
  /// - Throws: ``TarnError`` `.usage` if it is none, or of another scheme.
  package init(_ text: String) throws(TarnError) { try self.init(text, relativeTo: nil) }

  /// An address whose places the environment filled in.
  ///
  /// - Parameters:
  ///   - text: The address to open.
  ///   - canonical: The address as it is kept and shown.
  /// - Throws: ``TarnError`` `.usage`.
  init(_ text: String, recordedAs canonical: String) throws(TarnError) {
    try self.init(text, relativeTo: nil, canonical: canonical == text ? nil : canonical)
  }

  /// The address of an object in a store.
  ///
  /// - Parameters:
  ///   - canonical: Its `s3://` address.
  ///   - text: Where it is to be had.
  /// - Throws: ``TarnError`` `.usage`.
  init(s3 canonical: String, at text: String) throws(TarnError) {
    try self.init(text, relativeTo: nil, isSigned: true, canonical: canonical)
    guard scheme != .file else { throw TarnError(.usage, "an S3 endpoint is an http:// or https:// address") }
  }

  private init(
    _ text: String, relativeTo base: WebAddress?, isSigned: Bool = false, canonical: String? = nil
  ) throws(TarnError) {
    // https://curl.se/libcurl/c/libcurl-url.html
    guard let handle = unsafe curl_url() else { throw TarnError(.io, "out of memory for an address") }
    defer { unsafe curl_url_cleanup(handle) }
    let shown = Self.redacted(canonical ?? text)
    if let base { _ = unsafe curl_url_set(handle, CURLUPART_URL, base.url, 0) }
    guard unsafe curl_url_set(handle, CURLUPART_URL, text, 0) == CURLUE_OK else {
      throw TarnError(
        .usage, "not an address: \(shown)", hint: "tarn fetches http://, https://, s3:// and file:// addresses")
    }
    func part(_ which: CURLUPart, flags: UInt32 = 0) -> String? {
      var value: UnsafeMutablePointer<CChar>?
      guard unsafe curl_url_get(handle, which, &value, flags) == CURLUE_OK, let value = unsafe value else { return nil }
      defer { unsafe curl_free(value) }
      return unsafe String(cString: value)
    }
    guard let scheme = part(CURLUPART_SCHEME).flatMap({ Scheme(rawValue: $0.lowercased()) }) else {
      throw TarnError(
        .usage, "cannot fetch \(shown)", hint: "tarn fetches http://, https://, s3:// and file:// addresses")
    }
    _ = unsafe curl_url_set(handle, CURLUPART_FRAGMENT, nil, 0)
    guard let url = part(CURLUPART_URL) else { throw TarnError(.usage, "not an address: \(shown)") }
    self.scheme = scheme
    self.url = url
    self.isSigned = isSigned
    command = nil
    self.canonical = canonical ?? url
    switch scheme {
    // No address that libcurl reads begins so.
    case .command: throw TarnError(.usage, "cannot fetch \(shown)")
    case .file:
      guard let path = part(CURLUPART_PATH, flags: UInt32(CURLU_URLDECODE)), !path.isEmpty else {
        throw TarnError(.usage, "no path in \(shown)")
      }
      filePath = path
      origin = "file://"
      (host, self.port) = ("", 0)
    case .http, .https:
      guard let host = part(CURLUPART_HOST), !host.isEmpty,
        let port = part(CURLUPART_PORT, flags: UInt32(CURLU_DEFAULT_PORT))
      else { throw TarnError(.usage, "no host in \(shown)") }
      filePath = ""
      origin = "\(scheme.rawValue)://\(host.lowercased()):\(port)"
      self.host = host
      self.port = Int(port) ?? 0
    }
  }

  /// The address that a redirect from here leads to.
  ///
  /// - Parameter location: The value of `Location`, absolute or relative.
  /// - Returns: Where to go; never less secure, never out of HTTP, and without
  ///   a name or password that the server put in.
  /// - Throws: ``TarnError`` `.refused` if it must not be followed.
  package func redirected(to location: String) throws(TarnError) -> WebAddress {
    let target: WebAddress
    do {
      target = try WebAddress(location, relativeTo: self)
    } catch {
      throw TarnError(.refused, "a redirect to \(Self.redacted(location)), which tarn does not follow")
    }
    switch (scheme, target.scheme) {
    case (_, .file): throw TarnError(.refused, "a redirect to a local file")
    case (.https, .http): throw TarnError(.refused, "a redirect from https to http")
    default: break
    }
    guard !AddressText(target.url).hasUserInfo || target.origin == origin else {
      throw TarnError(.refused, "a redirect with credentials in it")
    }
    // S4: a presigned address that is signed again is refused by S3.
    if isSigned, target.origin == origin, !target.url.contains("X-Amz-Signature=") {
      return try WebAddress(target.url, relativeTo: nil, isSigned: true)
    }
    return target
  }

  /// The address without credentials, for logs, errors and the catalog.
  package var redacted: String { Self.redacted(canonical, keeping: keptQuery) }

  /// S4: hides userinfo and the values of query items that are not known to be
  /// harmless.
  ///
  /// - Parameters:
  ///   - text: An address.
  ///   - kept: Further names that the user vouched for, lower case.
  /// - Returns: What may be shown of it.
  package static func redacted(_ text: String, keeping kept: Set<String> = []) -> String {
    printable(AddressText(text).redacted(keeping: kept), limit: 2_000)
  }
}
