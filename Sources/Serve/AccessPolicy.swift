// Who may ask: decided from a request's head, before anything is done.
//
// A page of another site that a person has open can make the browser ask this server. It cannot name this server's
// host (a name of its own that it lets point here is not among those that the server goes by), cannot leave out its
// own origin where that matters, and does not have the token.

internal import Base
internal import Foundation

/// Which requests a server answers: by the names it goes by, its token, and the origins whose pages may ask it.
package struct AccessPolicy: Sendable {
  /// Names besides addresses and `localhost` under which the server is asked.
  private let names: Set<String>
  private let token: ContentDigest?
  /// Origins whose pages may ask what programs ask.
  private let origins: Set<String>

  /// The fewest bytes of a token.
  package static let shortestToken = 16

  /// Prepares to judge.
  ///
  /// - Parameters:
  ///   - names: Names besides addresses and `localhost` under which the server is asked, as a proxy does.
  ///   - token: What must be presented; nil for nothing.
  ///   - origins: Origins whose pages may ask what programs ask: `https://host` or `http://host:port`.
  /// - Throws: ``TarnError`` `.usage` for a token that could be guessed, or that no header can hold, and for what is no
  ///   origin.
  package init(names: [String], token: String?, origins: [String] = []) throws {
    self.names = Set(names.map { $0.lowercased() })
    self.origins = Set(try origins.map(Self.origin))
    if let token {
      guard token.utf8.count >= Self.shortestToken, token.isVisibleASCII else {
        throw TarnError(
          .usage, "a token has at least \(Self.shortestToken) characters of ASCII, and no space",
          hint: "make one with `openssl rand -hex 16`")
      }
      self.token = Self.digest(token)
    } else {
      self.token = nil
    }
  }

  /// Judges a request.
  ///
  /// - Parameters:
  ///   - head: The request's.
  ///   - isOpen: Whether it is for everybody, as `/healthz` is: then the token is not asked for.
  ///   - isPage: Whether it is a page, to which others may link.
  ///   - isForPrograms: Whether it is what programs ask, for pages of origins that were named, too.
  /// - Returns: The refusal; nil where it may be answered.
  package func refusal(
    of head: RequestHead, isOpen: Bool, isPage: Bool, isForPrograms: Bool = false
  ) -> ServeAnswer? {
    let hosts = head.values("host")
    guard hosts.count == 1, let host = HostAndPort(parsing: hosts[0]) else {
      return .error(400, "a request names one host")
    }
    guard host.isAddress || host.name == "localhost" || names.contains(host.name) else {
      return .error(
        421, "this server does not go by the name '\(host.name.printable)'",
        hint: "ask it by its address, or start it with --host \(host.name.printable)")
    }
    let isNamed = isForPrograms && namedOrigin(of: head) != nil
    let origins = head.values("origin")
    // A proxy may name another host than the browser asked. What a page posts can be asked at its address as well, with
    // which no origin comes, so that the browser's word for it is enough.
    let isOwnPage = isPage && head.values("sec-fetch-site") == ["same-origin"]
    if !origins.isEmpty, !isNamed, !isOwnPage {
      guard origins.count == 1, Self.isSame(origins[0], hosts[0]) else {
        return .error(
          403, "pages of another origin may not ask this server", hint: Self.way(for: origins[0], isForPrograms))
      }
    }
    // Browsers say whose page asks; that of another site may link here, and no more.
    if let site = head.values("sec-fetch-site").first, ["cross-site", "same-site"].contains(site), !isNamed,
      !(isPage && head.values("sec-fetch-mode") == ["navigate"] && head.values("sec-fetch-dest") == ["document"])
    {
      return .error(403, "pages of another site may not ask this server")
    }
    guard let token, !isOpen else { return nil }
    let presented = head.values("authorization")
    guard presented.count == 1, let given = Self.token(in: presented[0]), Self.digest(given) == token else {
      var answer = ServeAnswer.error(
        401, presented.isEmpty ? "this server wants a token" : "this is not the token",
        hint: "send it as `Authorization: Bearer TOKEN`, or as the password of any user")
      answer.headers["WWW-Authenticate"] = "Basic realm=\"tarn\", charset=\"UTF-8\""
      return answer
    }
    return nil
  }

  /// The origin of who asks, as it was sent, if it is one of those that were named.
  package func namedOrigin(of head: RequestHead) -> String? {
    let sent = head.values("origin")
    guard sent.count == 1, origins.contains(sent[0].lowercased()) else { return nil }
    return sent[0]
  }

  /// What an answer to a page of an origin that was named says, so that the browser lets the page have it.
  ///
  /// - SeeAlso: https://fetch.spec.whatwg.org/#http-cors-protocol
  package static func headers(for origin: String) -> [String: String] {
    [
      "Access-Control-Allow-Origin": origin,
      "Access-Control-Expose-Headers": "Retry-After, Tarn-Lists, Tarn-More, Tarn-Where",
      "Cross-Origin-Resource-Policy": "cross-origin", "Vary": "Origin",
    ]
  }

  /// What a browser is told that asks before a request of such a page.
  package static func preflight(_ methods: String) -> [String: String] {
    [
      "Access-Control-Allow-Methods": methods, "Access-Control-Allow-Headers": "Authorization, Content-Type",
      "Access-Control-Allow-Private-Network": "true", "Access-Control-Max-Age": "600",
    ]
  }

  /// What lets the pages of an origin ask; nil where nothing does.
  private static func way(for origin: String, _ isForPrograms: Bool) -> String? {
    guard isForPrograms else { return "a proxy before it has to pass on the header Host as the browser sent it" }
    return isOrigin(origin) ? "start it with --allow-origin \(origin)" : nil
  }

  private static func isOrigin(_ text: String) -> Bool { (try? origin(text)) != nil }

  /// An origin as browsers write it.
  private static func origin(_ text: String) throws -> String {
    let sent = text.lowercased()
    for scheme in ["https://", "http://"] where sent.hasPrefix(scheme) {
      if HostAndPort(parsing: String(sent.dropFirst(scheme.utf8.count))) != nil { return sent }
    }
    throw TarnError(
      .usage, "'\(text.printable)' is no origin of pages",
      hint: "one is a scheme and a host, without a path: https://search.example.org or http://127.0.0.1:8080")
  }

  /// Digests are compared, so that the time that takes says nothing of the token.
  private static func digest(_ token: String) -> ContentDigest { ContentDigest.of(token) }

  /// The token in `Bearer TOKEN`, or the password in `Basic BASE64`.
  private static func token(in header: String) -> String? {
    let parts = header.split(separator: " ", maxSplits: 1)
    guard parts.count == 2 else { return nil }
    switch parts[0].lowercased() {
    case "bearer": return String(parts[1])
    case "basic":
      guard let bytes = Data(base64Encoded: String(parts[1])), let text = String(validating: bytes, as: UTF8.self),
        let colon = text.firstIndex(of: ":")
      else { return nil }
      return String(text[text.index(after: colon)...])
    default: return nil
    }
  }

  /// Whether an origin is that of the host: `http://HOST` or `https://HOST`.
  private static func isSame(_ origin: String, _ host: String) -> Bool {
    let (origin, host) = (origin.lowercased(), host.lowercased())
    return origin == "http://\(host)" || origin == "https://\(host)"
  }
}

/// What a Host header names.
package struct HostAndPort: Sendable, Equatable {
  /// In lower case; of IPv6 without brackets.
  package let name: String
  package let port: Int?
  /// Whether it is an address and no name, so that no name service was asked for it.
  package let isAddress: Bool

  /// Reads `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`; nil for anything else.
  package init?(parsing text: String) {
    let text = text.lowercased()
    guard text.utf8.count <= 255 + 6 else { return nil }
    var rest = text[...]
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { return nil }
      name = String(text[text.index(after: text.startIndex)..<end])
      rest = text[text.index(after: end)...]
      guard name.contains(":"), name.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else { return nil }
      isAddress = true
    } else {
      let end = text.firstIndex(of: ":") ?? text.endIndex
      name = String(text[..<end])
      rest = text[end...]
      guard !name.isEmpty, name.utf8.allSatisfy({ $0.isLetterOrDigit || "-._".utf8.contains($0) }) else { return nil }
      let numbers = name.split(separator: ".", omittingEmptySubsequences: false)
      isAddress = numbers.count == 4 && numbers.allSatisfy { UInt8($0) != nil }
    }
    guard !rest.isEmpty else {
      port = nil
      return
    }
    guard rest.first == ":", rest.dropFirst().utf8.allSatisfy(\.isDigit), let number = UInt16(rest.dropFirst()) else {
      return nil
    }
    port = Int(number)
  }

  /// Whether it is an address of this machine alone.
  package var isLoopback: Bool { name == "localhost" || name == "::1" || isAddress && name.hasPrefix("127.") }
}

/// How often each address has asked lately: a bucket that fills at a rate and is emptied by requests.
///
/// Pure: the time is handed in.
package struct RequestRates: Sendable {
  private let rate: Double
  private let burst: Double
  /// Of each address what it has saved up, and when that was counted.
  private var saved: [String: (count: Double, at: ContinuousClock.Instant)] = [:]
  /// Addresses that are remembered; those that have saved up all they can are forgotten first.
  private static let addressLimit = 4096

  package init(perSecond rate: Double, burst: Double) { (self.rate, self.burst) = (rate, burst) }

  /// Counts a request of an address.
  ///
  /// - Returns: Whether it may be answered.
  package mutating func admit(_ address: String, at now: ContinuousClock.Instant) -> Bool {
    let before = saved[address] ?? (burst, now)
    let count = min(burst, before.count + (now - before.at).seconds * rate)
    if saved.count >= Self.addressLimit, saved[address] == nil {
      saved = saved.filter { $0.value.count + (now - $0.value.at).seconds * rate < burst }
      // All of them ask too often: a new one is not believed to be another.
      guard saved.count < Self.addressLimit else { return false }
    }
    saved[address] = (max(0, count >= 1 ? count - 1 : count), now)
    return count >= 1
  }
}
