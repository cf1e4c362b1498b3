// S6, S7: where on the network an address lies, and how far inside a redirect or
// the address of a document may lead. Pure, but for the connection that
// `WebRequest` asks about.
//
// A mirror's own address may be anywhere: its user chose it. A redirect is the
// server's choice, and a document's address its author's: neither has business
// with what only this machine reaches. Names are judged by what they resolved to, when the
// connection is made, so that one that resolves differently twice escapes nothing.

package import Base
internal import Foundation
internal import Glibc

/// Where an IP address lies, as seen from this machine.
package enum AddressScope: Sendable, Equatable, CaseIterable {
  /// The Internet.
  case world
  /// A private network (RFC 1918, RFC 6598, RFC 4193).
  case site
  /// This machine (loopback).
  case machine
  /// This link alone, and what clouds tell their machines in confidence; also
  /// addresses that no server has.
  case link

  /// Whether a redirect may lead from a server here to one there: never
  /// further inside.
  package func reaches(_ target: AddressScope) -> Bool {
    switch (self, target) {
    case (_, .world), (.site, .site), (.machine, .site), (.machine, .machine), (.link, .link): true
    case (.world, _), (.site, _), (.machine, .link), (.link, _): false
    }
  }

  /// What such an address is called in a message.
  var text: String {
    switch self {
    case .world: "a public address"
    case .site: "an address of a private network"
    case .machine: "an address of this machine"
    case .link: "a link-local address"
    }
  }

  /// Judges an address.
  ///
  /// - Parameter text: An IPv4 or IPv6 address, as in a URL or from a socket;
  ///   the result is nil if it is a name.
  package init?(of text: String) {
    let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
    let address = bare.split(separator: "%", maxSplits: 1).first.map(String.init) ?? bare
    var four = [UInt8](repeating: 0, count: 4)
    var six = [UInt8](repeating: 0, count: 16)
    // A name with a dot at its end is the same name.
    let name = (address.hasSuffix(".") ? String(address.dropLast()) : address).lowercased()
    if Self.namesOfThisMachine.contains(name) || name.hasSuffix(".localhost") {
      self = .machine
    } else if Self.namesOfConfidants.contains(name) {
      self = .link
    } else if unsafe inet_pton(AF_INET, address, &four) == 1 {
      self = Self.scope(ofIPv4: four[...])
    } else if unsafe inet_pton(AF_INET6, address, &six) == 1 {
      self = Self.scope(ofIPv6: six)
    } else {
      // `127.1`, `0x7f000001`, `017700000001`: what resolvers take for numbers.
      var number = in_addr()
      guard name.utf8.first?.isDigit == true, unsafe inet_aton(name, &number) != 0 else { return nil }
      let bytes = unsafe withUnsafeBytes(of: number.s_addr) { unsafe Array($0) }
      self = Self.scope(ofIPv4: bytes[...])
    }
  }

  private static let namesOfThisMachine: Set<String> = ["localhost", "ip6-localhost", "ip6-loopback"]
  private static let namesOfConfidants: Set<String> = ["metadata", "metadata.google.internal", "instance-data"]

  /// The one that lies further inside.
  private func further(_ other: AddressScope) -> AddressScope {
    [.link, .machine, .site].first { $0 == self || $0 == other } ?? .world
  }

  /// Where clouds serve credentials on addresses that look like others.
  private static let confidants: Set<[UInt8]> = [[168, 63, 129, 16], [100, 100, 100, 200], [192, 0, 0, 192]]

  // https://www.iana.org/assignments/iana-ipv4-special-registry
  private static func scope(ofIPv4 bytes: ArraySlice<UInt8>) -> AddressScope {
    let bytes = Array(bytes)
    if confidants.contains(bytes) { return .link }
    switch (bytes[0], bytes[1]) {
    case (0, _), (127, _): return .machine
    case (10, _), (172, 16...31), (192, 168), (100, 64...127), (198, 18...19): return .site
    case (169, 254), (224..., _): return .link
    // Examples of documentation, protocols of the IETF, a relay that is no more.
    case (192, 0) where [0, 2].contains(bytes[2]), (198, 51) where bytes[2] == 100, (203, 0) where bytes[2] == 113,
      (192, 88) where bytes[2] == 99:
      return .link
    default: return .world
    }
  }

  // https://www.iana.org/assignments/iana-ipv6-special-registry
  private static func scope(ofIPv6 bytes: [UInt8]) -> AddressScope {
    let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && (bytes[10], bytes[11]) == (0xFF, 0xFF)
    let isTranslated = bytes[..<12].elementsEqual([0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0])
    let isStateless = bytes[..<8].allSatisfy { $0 == 0 } && bytes[8..<12].elementsEqual([0xFF, 0xFF, 0, 0])
    // An IPv4 address in another dress.
    if isMapped || isTranslated || isStateless { return scope(ofIPv4: bytes[12...]) }
    // RFC 8215: translation within a network, which may also lead further inside.
    if bytes.starts(with: [0, 0x64, 0xFF, 0x9B, 0, 1]) {
      return AddressScope.site.further(scope(ofIPv4: bytes[12...]))
    }
    // ISATAP (RFC 5214): an IPv4 address behind a prefix of any kind.
    if [0, 2].contains(bytes[8]), bytes[9...].starts(with: [0, 0x5E, 0xFE]) {
      return scope(ofPrefix: bytes).further(scope(ofIPv4: bytes[12...]))
    }
    return scope(ofPrefix: bytes)
  }

  private static func scope(ofPrefix bytes: [UInt8]) -> AddressScope {
    switch (bytes[0], bytes[1]) {
    case (0, 0) where bytes[2..<12].allSatisfy { $0 == 0 }: return .machine
    case (0x20, 0x02): return scope(ofIPv4: bytes[2..<6])
    // Teredo and the other special blocks of 2001::/23; documentation, segment
    // routing, discard.
    case (0x20, 0x01) where bytes[2] < 2 || bytes[2...].starts(with: [0x0D, 0xB8]): return .link
    case (0x3F, 0xFF) where bytes[2] < 0x10, (0x5F, 0): return .link
    case (1, 0) where bytes[2..<8].allSatisfy { $0 == 0 }: return .link
    case (0xFD, 0) where bytes[2...].starts(with: [0x0E, 0xC2]): return .link
    case (0xFC...0xFD, _), (0xFE, 0xC0...): return .site
    case (0xFE, 0x80..<0xC0), (0xFF, _): return .link
    default: return .world
    }
  }
}

/// The other end of a connection.
struct Peer: Equatable {
  let address: String
  let port: Int
}

extension FetchConfiguration {
  /// The address that a redirect leads to, if it may be followed.
  ///
  /// - Parameters:
  ///   - location: The value of `Location`.
  ///   - address: Who sent it.
  ///   - peer: Who that turned out to be; nil if nobody knows.
  /// - Returns: Where to go, with how far inside that may be.
  /// - Throws: ``TarnError`` `.refused`.
  func redirect(to location: String, from address: WebAddress, at peer: Peer?) throws(TarnError) -> WebAddress {
    var target = try address.redirected(to: location)
    target.isOwn = address.isOwn && target.origin == address.origin
    let scope = peer.flatMap { isProxy($0, for: address) ? nil : addressScope($0.address) } ?? .world
    target.reach = scope
    // Behind a proxy names are the proxy's to judge; addresses are not.
    if let literal = addressScope(target.host), !scope.reaches(literal) {
      throw Self.refusal(of: target.host, literal)
    }
    return target
  }

  /// Whether a connection for an address that a redirect led to may be made.
  ///
  /// - Returns: nil if it may.
  func refusal(of peer: Peer, for address: WebAddress) -> TarnError? {
    guard let reach = address.reach, !isProxy(peer, for: address) else { return nil }
    let scope = addressScope(peer.address) ?? .link
    guard !reach.reaches(scope) else { return nil }
    return address.isOfDocument
      ? Self.refusalOfDocument(peer.address, scope.text) : Self.refusal(of: peer.address, scope)
  }

  /// S7: an address that a document brought, which may lead out into the world
  /// alone.
  ///
  /// - Throws: ``TarnError`` `.untrusted` for a local file, and for what lies inside
  ///   by its very text; names are judged by what they resolve to.
  func confined(_ address: WebAddress) throws(TarnError) -> WebAddress {
    guard address.scheme != .file else { throw Self.refusalOfDocument("a local file", "") }
    if let literal = addressScope(address.host), literal != .world {
      throw Self.refusalOfDocument(address.host, literal.text)
    }
    var address = address
    address.reach = .world
    address.isOfDocument = true
    return address
  }

  /// Checks an address of a list before anything is asked.
  ///
  /// - Parameters:
  ///   - url: The address; its places need not be filled in yet.
  ///   - place: The list.
  ///   - way: How the user takes it that an address may lead inside.
  /// - Throws: ``TarnError`` `.usage`.
  package static func checkOfDocument(_ url: String, in place: String, trustedBy way: String) throws(TarnError) {
    var configuration = FetchConfiguration()
    configuration.variable = { _ in "x" }
    do {
      _ = try configuration.address(FetchMirror(id: 0, url: url, isOfDocument: true))
    } catch {
      throw TarnError(
        .usage, "\(place): \(WebAddress.redacted(url)): \(error.message)",
        hint: error.code == .untrusted ? "if it is meant, \(way)" : error.hint)
    }
  }

  /// How a user says that an address of a document may lead inside.
  ///
  /// - Parameter source: Whose address it is, which callers of the fetcher know; it does not.
  /// - Returns: The way, for a hint.
  package static func wayInside(_ source: String = "SOURCE") -> String {
    "`tarn sync \(source) --allow-inside` takes your word for it"
  }

  private static func refusalOfDocument(_ address: String, _ text: String) -> TarnError {
    TarnError(
      .untrusted,
      "a document or list leads to \(printable(address, limit: 60))\(text.isEmpty ? "" : ", \(text)")",
      hint: "if it is meant, \(wayInside())")
  }

  private static func refusal(of address: String, _ scope: AddressScope) -> TarnError {
    TarnError(
      .refused, "a redirect to \(printable(address, limit: 60)), \(scope.text), from further outside",
      hint: "tarn does not follow it; if it is meant, give the mirror the address that it leads to")
  }

  /// Whether a connection is the one to a proxy.
  ///
  /// libcurl does not tell. The port does, where it is not the server's own; where it is, the connection is the proxy's
  /// if there is one for such addresses, and nothing exempts the host.
  func isProxy(_ peer: Peer, for address: WebAddress) -> Bool {
    let asked = proxyText(for: address)
    guard !asked.isEmpty, Self.port(ofProxy: asked) == peer.port else { return false }
    return peer.port != address.port || !mayBeExempt(address)
  }

  /// Whether an address is asked through a proxy, as far as that is sure before it is connected.
  func isProxied(_ address: WebAddress) -> Bool { !proxyText(for: address).isEmpty && !mayBeExempt(address) }

  /// The proxy that addresses of a kind are asked through; empty for none.
  private func proxyText(for address: WebAddress) -> String {
    let environment = ProcessInfo.processInfo.environment
    var names = ["\(address.scheme.rawValue)_proxy", "all_proxy", "ALL_PROXY"]
    if address.scheme == .https { names.insert("HTTPS_PROXY", at: 1) }
    // libcurl takes the first that is not empty.
    return proxy ?? names.compactMap { environment[$0] }.first { !$0.isEmpty } ?? ""
  }

  private func mayBeExempt(_ address: WebAddress) -> Bool {
    let environment = ProcessInfo.processInfo.environment
    return ["no_proxy", "NO_PROXY"].compactMap { environment[$0] }.contains { Self.mayExempt(address.host, $0) }
  }

  /// Whether what the environment exempts of proxies may mean a host: rather too many are than one too few, which would
  /// not be judged.
  ///
  /// - Parameters:
  ///   - host: A name or an address.
  ///   - list: Names, their ends, addresses and networks, as libcurl splits them.
  /// - Returns: Whether one of them may be it.
  package static func mayExempt(_ host: String, _ list: String) -> Bool {
    let marks = CharacterSet(charactersIn: ".*[]")
    let name = host.lowercased().trimmingCharacters(in: marks)
    return list.lowercased().split(whereSeparator: { $0 == "," || $0.isWhitespace }).contains { entry in
      let end = entry.trimmingCharacters(in: marks)
      return name.hasSuffix(end) || entry.contains("/") && AddressScope(of: host) != nil
    }
  }

  /// > If not specified, libcurl defaults to using port 1080 for proxies.
  /// https://curl.se/libcurl/c/CURLOPT_PROXY.html
  private static func port(ofProxy text: String) -> Int {
    let authority = (text.range(of: "://").map { text[$0.upperBound...] } ?? text[...]).prefix { $0 != "/" }
    let host = authority.split(separator: "@").last ?? ""
    if let colon = host.lastIndex(of: ":"), let port = Int(host[host.index(after: colon)...]) { return port }
    return text.lowercased().hasPrefix("https://") ? 443 : 1080
  }
}
