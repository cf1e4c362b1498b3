// Secrets of the environment and of the user's netrc file, and the one origin or machine
// each of them is for. They are never stored, never printed, and never sent anywhere else.

internal import Base

/// What authorises requests, from the environment and the netrc file.
package struct Credentials: Sendable {
  /// Variables of the environment that tarn takes secrets from: a command gets none.
  package static let names: Set<String> = [
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", EncoderName.keyVariable,
  ]

  private let lines: [String: [String]]
  /// The Hub, without a slash at its end: `HF_ENDPOINT`, or the one that everybody means.
  package let hub: String
  /// Names and passwords of the user's netrc file (S9).
  private let netrc: NetrcFile
  /// Why that file does not count; nil where it does, or there is none.
  package let netrcFault: String?

  /// Takes what the environment offers.
  ///
  /// `HF_TOKEN` is for the Hub alone, over https or to this machine: the storage that it
  /// redirects to has signed addresses of its own.
  package init(environment: [String: String]) {
    var lines: [String: [String]] = [:]
    var hub = environment["HF_ENDPOINT"] ?? ""
    while hub.hasSuffix("/") { hub.removeLast() }
    self.hub = hub.isEmpty ? HubDirectory.defaultHub : hub
    if let token = environment["HF_TOKEN"], !token.isEmpty, token.isVisibleASCII,
      let address = try? WebAddress(self.hub),
      address.scheme == .https || address.scheme == .http && AddressScope(of: address.host) == .machine
    {
      lines[address.origin] = ["Authorization: Bearer \(token)"]
    }
    self.lines = lines
    (netrc, netrcFault) = Self.netrc(of: environment)
  }

  /// The header lines for one origin, as `scheme://host:port`.
  package func headers(for origin: String) -> [String] { lines[origin] ?? [] }

  /// What `Authorization` says to a host, by the netrc file; nil for nothing.
  package func login(for host: String) -> String? { netrc.authorization(for: host) }

  /// The file that `NETRC` names, else `~/.netrc`.
  ///
  /// Who names a file says that it is meant. The one that is read unasked counts only where
  /// others can neither read nor write it, as ftp and ssh have it.
  private static func netrc(of environment: [String: String]) -> (file: NetrcFile, fault: String?) {
    let (named, home) = (environment["NETRC"] ?? "", environment["HOME"] ?? "")
    guard !named.isEmpty || !home.isEmpty else { return (NetrcFile(), nil) }
    let path = named.isEmpty ? home + "/.netrc" : named
    if named.isEmpty, Disk.isOpenToOthers(path) {
      return (NetrcFile(), "~/.netrc does not count, as other users can read or write it: chmod 600 ~/.netrc")
    }
    let bytes: [UInt8]
    do throws(TarnError) {
      bytes = try Disk.contents(of: path, atMost: NetrcFile.mostByteCount)
    } catch {
      let isNone = named.isEmpty && error.code == .inputsMissing
      return (NetrcFile(), isNone ? nil : error.message + (named.isEmpty ? "" : ", which NETRC names"))
    }
    do throws(NetrcFile.Fault) {
      return (try NetrcFile(bytes), nil)
    } catch {
      return (NetrcFile(), "\(path.printable) does not count: line \(error.line) has \(error.message)")
    }
  }
}

extension FetchConfiguration {
  /// What to do where a Hub refuses.
  static let wayIntoHub =
    "the repository may be gated or private: accept its terms, and set HF_TOKEN to a token that may read it"

  /// A request to an address with what authorises it, made for each address that is asked (S1).
  func form(to address: WebAddress, tag: UInt = 1) -> WebRequest.Form {
    var form = WebRequest.Form(address: address, tag: tag)
    form.lines = headers(address.origin)
    form.login = login(for: address)
    return form
  }

  /// S9: what `Authorization` says to an address by the user's netrc file; nil for nothing.
  ///
  /// It is for addresses that the user named, and what these redirect to on the same origin. A
  /// token of the origin, a signature, and a name in the address itself go first. Over plain
  /// http it goes no further than a private network and through no proxy; where a name leads is
  /// judged by ``mayGetLogin(_:for:)`` when it is connected.
  func login(for address: WebAddress) -> String? {
    guard address.isOwn, !address.isSigned, !AddressText(address.url).hasUserInfo, headers(address.origin).isEmpty
    else { return nil }
    switch address.scheme {
    case .https: return logins(address.host)
    case .http:
      guard !isProxied(address) else { return nil }
      let isInside = addressScope(address.host).map(Self.takesPlainLogin) ?? Self.isInnerName(address.host)
      return isInside ? logins(address.host) : nil
    case .file, .command: return nil
    }
  }

  /// S9: whether a login may go in the clear to who a name turned out to be; who may not get it is asked without.
  func mayGetLogin(_ peer: Peer, for address: WebAddress) -> Bool {
    !isProxy(peer, for: address) && (addressScope(peer.address).map(Self.takesPlainLogin) ?? false)
  }

  /// Whether a name is of the kind that networks give their own machines; others are asked without a login, as before.
  private static func isInnerName(_ host: String) -> Bool {
    let last = host.lowercased().split(separator: ".").last ?? ""
    let inner = ["local", "lan", "home", "internal", "intranet", "localdomain", "arpa"]
    return !host.contains(".") || inner.contains(String(last))
  }

  private static func takesPlainLogin(_ scope: AddressScope) -> Bool { scope == .machine || scope == .site }

  /// How a user gives credentials for an address.
  ///
  /// - Parameters:
  ///   - address: Who was asked.
  ///   - status: What it answered.
  ///   - isWithheld: Whether a login was kept back that the netrc file has.
  /// - Returns: What to do; nil where that is no matter of these credentials.
  func wayIn(to address: WebAddress, after status: Int?, isWithheld: Bool) -> String? {
    guard status == 401 || status == 403, !address.isSigned else { return nil }
    if let hub = try? WebAddress(hub), hub.origin == address.origin { return Self.wayIntoHub }
    if address.isOfDocument {
      return "what a document or list leads to gets no credentials; \(FetchConfiguration.wayInside())"
    }
    guard address.isOwn else { return "a redirect led there; give the mirror the address that it leads to" }
    if let loginFault { return loginFault }
    let machine = AddressText(address.url).machine.printable
    if !isWithheld, login(for: address) != nil {
      return "look at the login and password of machine \(machine) in the netrc file"
    }
    if logins(address.host) != nil {
      return "the password of machine \(machine) goes in the clear to no public address and through no proxy; give the "
        + "mirror its https:// address"
    }
    return AddressText.wayIn(to: machine)
  }
}
