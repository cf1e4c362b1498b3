// What an S3 store says is wrong: its answers carry a code that tells a wrong
// key from a wrong clock, where the status says 403 for both.

internal import Base
internal import Foundation

/// The body of a store's answer that holds no object.
///
/// Only its code is ever shown, which is one word: the rest of the document may
/// repeat what was signed.
struct StoreComplaint {
  /// Why the request was not signed; nil where it was.
  let unsigned: String?
  private var body: [UInt8] = []
  private static let mostByteCount = 16 << 10

  init(unsigned: String?) { self.unsigned = unsigned }

  /// What comes from an address; nil for one of no store.
  init?(from address: WebAddress, _ configuration: FetchConfiguration) {
    guard address.isSigned else { return nil }
    self.init(unsigned: configuration.s3.whyUnsigned)
  }

  /// Keeps a piece of the body.
  mutating func take(_ bytes: RawSpan) {
    let room = Self.mostByteCount - body.count
    if room > 0 { unsafe bytes.withUnsafeBytes { unsafe body.append(contentsOf: $0.prefix(room)) } }
  }

  /// The code, as `SignatureDoesNotMatch`; nil if it gave none.
  ///
  /// - SeeAlso: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
  var code: String? {
    guard let root = try? StoreDocument(body).root, root.name == "Error", let code = try? root.text(of: "Code"),
      (1...64).contains(code.utf8.count), code.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) })
    else { return nil }
    return code
  }

  /// The same error with what the store said.
  func explaining(_ error: TarnError) -> TarnError {
    let anonymous = error.code == .refused ? unsigned.map { "the request was not signed: \($0)" } : nil
    guard let code else { return TarnError(error.code, error.message, hint: anonymous ?? error.hint) }
    let (kind, hint): (TarnError.Code?, String?) =
      switch code {
      case "SignatureDoesNotMatch", "InvalidAccessKeyId":
        (nil, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile of ~/.aws")
      case "AccessDenied", "AllAccessDisabled":
        (nil, "check what these credentials may do in the bucket")
      case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
        (nil, "get new session credentials (AWS_SESSION_TOKEN)")
      case "RequestTimeTooSkewed", "RequestExpired":
        (nil, "set this machine's clock: requests are signed with its time")
      case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException":
        (.refused, "set AWS_REGION to the region of the bucket, or AWS_ENDPOINT_URL to its store")
      default: (nil, nil)
      }
    return TarnError(kind ?? error.code, "\(error.message): \(code)", hint: anonymous ?? hint ?? error.hint)
  }
}
