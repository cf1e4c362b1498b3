// Requests to a store, signed by version 4: with the SHA-256 of what they send, which
// the store checks. Made here and not by libcurl, as that of Debian 12 hashes no body
// but the empty one. Pure: the time is handed in.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html

package import Base
package import Foundation

/// What is signed of a request.
package struct RequestSignature {
  package let method: String
  /// Host and port as the `Host` line has them.
  package let host: String
  /// Percent-encoded, from its slash on.
  package let path: String
  /// Sorted and percent-encoded, as it is sent.
  package let query: String
  /// Further lines, which are signed, too; names in lower case.
  package let fields: [(name: String, value: String)]
  /// SHA-256 of the body.
  package let payload: ContentDigest

  package init(
    method: String, host: String, path: String, query: String, fields: [(name: String, value: String)],
    payload: ContentDigest
  ) {
    self.method = method
    self.host = host
    self.path = path
    self.query = query
    self.fields = fields
    self.payload = payload
  }

  /// The lines that authorise the request, those of ``fields`` among them.
  ///
  /// - Parameters:
  ///   - accessKey: Who asks.
  ///   - secretKey: The secret that goes with it.
  ///   - sessionToken: Of credentials that end; nil for others.
  ///   - region: Region of the store.
  ///   - date: The time.
  /// - Returns: Header lines.
  package func lines(
    accessKey: String, secretKey: String, sessionToken: String?, region: String, at date: Date
  ) -> [String] {
    let time = Self.time(date)
    let scope = "\(time.prefix(8))/\(region)/s3/aws4_request"
    var signed = fields + [("host", host), ("x-amz-content-sha256", payload.hex), ("x-amz-date", time)]
    if let sessionToken { signed.append(("x-amz-security-token", sessionToken)) }
    signed.sort { $0.name < $1.name }
    let names = signed.map(\.name).joined(separator: ";")
    let canonical =
      ([method, path, query] + signed.map { "\($0.name):\($0.value)" } + ["", names, payload.hex]).joined(
        separator: "\n")
    let text = ["AWS4-HMAC-SHA256", time, scope, ContentDigest.of(canonical).hex].joined(separator: "\n")
    var key = Array("AWS4\(secretKey)".utf8)
    for part in scope.split(separator: "/") { key = Self.keyedHash(Array(part.utf8), key: key) }
    let signature = ContentDigest(bytes: Self.keyedHash(Array(text.utf8), key: key)).hex
    return signed.filter { $0.name != "host" }.map { "\($0.name): \($0.value)" } + [
      "Authorization: AWS4-HMAC-SHA256 Credential=\(accessKey)/\(scope), SignedHeaders=\(names), Signature=\(signature)"
    ]
  }

  /// HMAC-SHA256 (RFC 2104).
  package static func keyedHash(_ message: [UInt8], key: [UInt8]) -> [UInt8] {
    func hash(_ bytes: [UInt8]) -> [UInt8] {
      var hasher = Sha256()
      unsafe hasher.update(bytes.span.bytes)
      return hasher.finalizeBytes()
    }
    let whole = key.count > 64 ? hash(key) : key
    let block = whole + [UInt8](repeating: 0, count: 64 - whole.count)
    return hash(block.map { $0 ^ 0x5C } + hash(block.map { $0 ^ 0x36 } + message))
  }

  /// A time as `20130524T000000Z`.
  private static func time(_ date: Date) -> String {
    let parts = Date.ISO8601FormatStyle(timeZone: .gmt).format(date)
    return parts.filter { $0 != "-" && $0 != ":" }
  }
}
