// Where `s3://` addresses lead and who asks there: from the environment and the
// AWS configuration files, as the AWS tools read them. Secrets stay in here and
// in the handles that sign with them; nothing stores or prints them.

package import Base
internal import Foundation

/// The endpoint, region and credentials of an S3 or S3-compatible store.
package struct S3Settings: Sendable {
  /// `scheme://host[:port]` of a store that is not AWS's; nil for AWS.
  package let endpoint: String?
  package let region: String
  private let accessKey: Secret?
  private let secretKey: Secret?
  private let sessionToken: Secret?
  /// Why requests are not signed, as part of a sentence: what is set, and what lacks; nil where they are.
  package let whyUnsigned: String?

  /// A text that does not show itself, not even to `dump`.
  private struct Secret: Sendable, CustomStringConvertible, CustomReflectable {
    private let reveal: @Sendable () -> String

    init(_ text: String) { reveal = { text } }

    var value: String { reveal() }
    var description: String { "REDACTED" }
    var customMirror: Mirror { Mirror(self, children: []) }
  }

  /// What signs a request.
  struct Signature {
    /// For `CURLOPT_AWS_SIGV4`.
    let provider: String
    let accessKey: String
    let secretKey: String
    let sessionToken: String?
    let lines: [String]
  }

  /// Takes what the environment says, and for the rest the profile
  /// `AWS_PROFILE` (`default`) of `~/.aws/credentials` and `~/.aws/config`.
  ///
  /// - Parameters:
  ///   - environment: The process's variables.
  ///   - readFile: The text of a file; nil if there is none.
  /// - SeeAlso: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
  package init(
    environment: [String: String],
    readFile: (String) -> String? = { Disk.text(of: $0) }
  ) {
    func variable(_ names: String...) -> String? {
      names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
    }
    let name = variable("AWS_PROFILE") ?? "default"
    let home = variable("HOME") ?? ""
    let credentials = variable("AWS_SHARED_CREDENTIALS_FILE") ?? home + "/.aws/credentials"
    let config = variable("AWS_CONFIG_FILE") ?? home + "/.aws/config"
    let (credentialsText, configText) = (readFile(credentials), readFile(config))
    let profile = Self.section([name], of: configText ?? "").merging(
      Self.section(["profile \(name)"], of: configText ?? ""), uniquingKeysWith: { _, specific in specific }
    ).merging(Self.section([name], of: credentialsText ?? ""), uniquingKeysWith: { _, secret in secret })
    endpoint = (variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") ?? profile["endpoint_url"]).map {
      $0.hasSuffix("/") ? String($0.dropLast()) : $0
    }
    region = variable("AWS_REGION", "AWS_DEFAULT_REGION") ?? profile["region"] ?? "us-east-1"
    // A key and its secret are of one origin: halves are never mixed.
    if let key = variable("AWS_ACCESS_KEY_ID"), let secret = variable("AWS_SECRET_ACCESS_KEY") {
      accessKey = Secret(key)
      secretKey = Secret(secret)
      sessionToken = variable("AWS_SESSION_TOKEN").map { Secret($0) }
    } else {
      accessKey = profile["aws_access_key_id"].map { Secret($0) }
      secretKey = profile["aws_secret_access_key"].map { Secret($0) }
      sessionToken = profile["aws_session_token"].map { Secret($0) }
    }
    let isProfile =
      Self.hasSection([name], of: credentialsText ?? "")
      || Self.hasSection([name, "profile \(name)"], of: configText ?? "")
    let isNamed = variable("AWS_PROFILE") != nil
    whyUnsigned =
      if accessKey != nil, secretKey != nil {
        nil
      } else if variable("AWS_ACCESS_KEY_ID") != nil {
        "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not"
      } else if variable("AWS_SECRET_ACCESS_KEY") != nil {
        "AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not"
      } else if isNamed, !isProfile {
        "AWS_PROFILE is '\(name.printable)', and neither \(credentials.printable) nor \(config.printable) has that profile"
      } else if accessKey != nil {
        "the profile '\(name.printable)' has aws_access_key_id and no aws_secret_access_key"
      } else if secretKey != nil {
        "the profile '\(name.printable)' has aws_secret_access_key and no aws_access_key_id"
      } else if isNamed {
        "no AWS_ACCESS_KEY_ID, and no key in the profile '\(name.printable)' that AWS_PROFILE names"
      } else {
        "no AWS_ACCESS_KEY_ID, and no key in a profile of ~/.aws"
      }
  }

  /// The settings of one section of an INI file.
  private static func section(_ names: Set<String>, of text: String) -> [String: String] {
    var found: [String: String] = [:]
    var isInside = false
    for line in text.split(whereSeparator: \.isNewline).map({ $0.trimmingCharacters(in: .whitespaces) }) {
      if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
      if let section = title(line) {
        isInside = names.contains(section)
      } else if isInside, let equals = line.firstIndex(of: "=") {
        let name = line[..<equals].trimmingCharacters(in: .whitespaces).lowercased()
        found[name] = line[line.index(after: equals)...].trimmingCharacters(in: .whitespaces)
      }
    }
    return found
  }

  /// The section that a line begins; nil of another line.
  private static func title(_ line: String) -> String? {
    guard line.hasPrefix("["), line.hasSuffix("]") else { return nil }
    return line.dropFirst().dropLast().trimmingCharacters(in: .whitespaces)
  }

  private static func hasSection(_ names: Set<String>, of text: String) -> Bool {
    text.split(whereSeparator: \.isNewline).contains { line in
      title(line.trimmingCharacters(in: .whitespaces)).map(names.contains) ?? false
    }
  }

  /// The web address of `s3://BUCKET/KEY`.
  ///
  /// Path-style on a custom endpoint and for buckets with dots, whose names
  /// would not fit AWS's certificate; virtual-hosted elsewhere.
  ///
  /// - Throws: ``TarnError`` `.usage` if it has no bucket or no key.
  func webAddress(of text: String) throws(TarnError) -> String {
    guard text.dropFirst("s3://".count).split(separator: "/", maxSplits: 1).count == 2 else {
      throw TarnError(.usage, "not an S3 address: \(WebAddress.redacted(text))", hint: Self.hint("key"))
    }
    return try storeAddress(of: text)
  }

  /// The web address of `s3://BUCKET/KEY`, or of `s3://BUCKET/`, the bucket itself.
  ///
  /// - Throws: ``TarnError`` `.usage` if it has no bucket.
  func storeAddress(of text: String) throws(TarnError) -> String {
    let path = text.dropFirst("s3://".count)
    let parts = path.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let isBucket = { (name: Substring) in
      (3...63).contains(name.utf8.count) && name.utf8.allSatisfy { Self.isUnreserved($0) && $0 != 0x7E }
    }
    guard parts.count == 2, isBucket(parts[0]) else {
      throw TarnError(.usage, "not an S3 address: \(WebAddress.redacted(text))", hint: Self.hint("key"))
    }
    let (bucket, key) = (parts[0], Self.encoded(parts[1]))
    if let endpoint { return "\(endpoint)/\(bucket)/\(key)" }
    return bucket.contains(".")
      ? "https://s3.\(region).amazonaws.com/\(bucket)/\(key)" : "https://\(bucket).s3.\(region).amazonaws.com/\(key)"
  }

  /// What an S3 address is.
  static func hint(_ rest: String) -> String {
    "write s3://bucket/\(rest); a bucket's name has 3 to 63 letters, digits, dots and dashes"
  }

  private static func isUnreserved(_ byte: UInt8) -> Bool { byte.isLetterOrDigit || "-._~".utf8.contains(byte) }

  /// A key as S3 signs it: everything but unreserved characters and slashes is
  /// percent-encoded, once.
  private static func encoded(_ key: Substring) -> String {
    encoded(String(key).removingPercentEncoding ?? String(key), keepingSlashes: true)
  }

  /// A name or value of a query, likewise, slashes and all.
  static func encoded(query text: String) -> String { encoded(text, keepingSlashes: false) }

  /// A path in a field of a request, likewise, but for slashes.
  static func encoded(path text: String) -> String { encoded(text, keepingSlashes: true) }

  private static func encoded(_ decoded: String, keepingSlashes: Bool) -> String {
    var text = ""
    for byte in decoded.utf8 {
      if isUnreserved(byte) || keepingSlashes && byte == 0x2F {
        text.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        text += byte.percentEncoded
      }
    }
    return text
  }

  /// What signs requests; nil without credentials, as for public buckets.
  func signature() throws(TarnError) -> Signature? {
    guard let accessKey = accessKey?.value, let secretKey = secretKey?.value else { return nil }
    let sessionToken = sessionToken?.value
    for value in [accessKey, secretKey, sessionToken ?? "", region]
    where !value.isVisibleASCII {
      throw TarnError(.usage, "an AWS credential or region holds a character that none has")
    }
    // libcurl 7.88 neither sends this by itself, without which S3 refuses the
    // request, nor hashes anything but the empty body for it.
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    return Signature(
      provider: "aws:amz:\(region):s3", accessKey: accessKey, secretKey: secretKey,
      sessionToken: sessionToken,
      lines: ["x-amz-content-sha256: \(empty)"] + (sessionToken.map { ["x-amz-security-token: \($0)"] } ?? []))
  }
}

extension FetchConfiguration {
  /// The web address of an `s3://` one.
  ///
  /// - Throws: ``TarnError`` `.usage`.
  package func s3Address(_ text: String) throws(TarnError) -> String { try s3.webAddress(of: text) }

  /// Parses an address of a mirror, `s3://` ones by the settings of this run.
  ///
  /// - Throws: ``TarnError`` `.usage`; `.untrusted` for one that a document brought
  ///   and that leads inside.
  func address(_ mirror: FetchMirror) throws(TarnError) -> WebAddress {
    if CommandAddress.isOne(mirror.url) { return try command(mirror.url) }
    let text = try EnvironmentPlace.filled(mirror.url, variable)
    var address =
      text.isStoreAddress
      ? try WebAddress(s3: mirror.url, at: s3.webAddress(of: text)) : try WebAddress(text, recordedAs: mirror.url)
    address.keptQuery = mirror.keptQuery
    address.isOwn = !mirror.isOfDocument
    return mirror.isOfDocument ? try confined(address) : address
  }

  /// The scheme, host and port that a mirror is asked at; nil for one that cannot
  /// be asked.
  package func origin(of mirror: FetchMirror) -> String? { try? address(mirror).origin }

  /// Whether a mirror's address leads to a file on this machine.
  package func isLocal(_ mirror: FetchMirror) -> Bool { (try? address(mirror))?.scheme == .file }

  /// Bytes of the file that a mirror's address leads to on this machine; nil where it
  /// leads elsewhere, or to no regular file.
  package func localByteCount(of mirror: FetchMirror) -> Int? {
    guard let address = try? address(mirror), address.scheme == .file else { return nil }
    return Disk.size(of: address.filePath)
  }
}
