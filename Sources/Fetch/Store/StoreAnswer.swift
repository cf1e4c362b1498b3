// What an answer of a store to a request that writes, lists or looks means. Pure.
//
// A 2xx counts only with a body that is what it should be: CompleteMultipartUpload
// answers 200 before it knows how it ends, and then says `<Error>`.

package import Base
package import Foundation

/// What asked for the pages of one list: each asks for one that did not come yet, so that every list ends.
struct PageMarkers {
  private static let mostPageCount = 10_000
  private var seen: Set<String> = []

  /// Whether a page may be asked for by what the one before it says.
  mutating func take(_ marker: String?) -> Bool {
    guard let marker, seen.count < Self.mostPageCount else { return false }
    return seen.insert(marker).inserted
  }
}

/// A store's answer, whole.
package struct StoreAnswer: Sendable, Equatable {
  package let head: ResponseHead
  package let body: [UInt8]

  package init(head: ResponseHead, body: [UInt8] = []) {
    self.head = head
    self.body = body
  }

  /// What it means.
  package enum Verdict: Sendable, Equatable {
    case done
    /// There is no such object, or no such upload.
    case absent
    /// What the request was to be done on condition of does not hold.
    case conditionFailed
    /// The store does not have what was asked of it.
    case unsupported(String)
    /// Not now: the store wants to be left alone for so long.
    case later(Duration?, TarnError)
    case refused(TarnError)
  }

  /// Codes of troubles that pass, whatever the status.
  private static let passing: Set<String> = [
    "InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "Busy", "TooManyRequests",
    "RequestTimeTooSlow", "ConditionalRequestConflict", "ThrottlingException", "Throttling",
  ]

  /// Judges the answer.
  ///
  /// - Parameters:
  ///   - root: The element that the body of a success has; nil for any body.
  ///   - unsigned: Why the request was not signed; nil where it was.
  ///   - now: The time, for `Retry-After`.
  ///   - cap: The longest `Retry-After` that is obeyed (R13).
  /// - Returns: What it means; never done where the store said that it failed.
  package func verdict(root: String? = nil, unsigned: String?, at now: Date, cap: Duration) -> Verdict {
    var complaint = StoreComplaint(unsigned: unsigned)
    unsafe complaint.take(body.span.bytes)
    let status = head.statusCode
    let text = "HTTP \(status)"
    func error(_ code: TarnError.Code) -> TarnError { complaint.explaining(TarnError(code, text)) }
    let wait = ResponseClassifier.retryAfter(head, at: now, cap: cap)
    switch status {
    case 200..<300:
      guard let root else { return .done }
      do throws(StoreDocument.Fault) {
        switch try StoreDocument(body).root.name {
        case root: return .done
        case "Error":
          return complaint.code.map(Self.passing.contains) ?? true
            ? .later(wait, error(.temporary)) : .refused(error(.refused))
        default: return .later(wait, TarnError(.temporary, "\(text) without the \(root) of a store"))
        }
      } catch {
        // What is no answer of a store's may be somebody else's, and what was cut comes whole another time.
        let isOfStore = body.starts(with: "<?xml".utf8) || body.starts(with: "<\(root)".utf8)
        return error.isCut || !isOfStore
          ? .later(wait, TarnError(.temporary, "\(text) without the whole \(root) of a store"))
          : .refused(error.error(of: "the \(root) of the store"))
      }
    case 404: return complaint.code == "NoSuchBucket" ? .refused(error(.absent)) : .absent
    case 412: return .conditionFailed
    case 408, 409, 425, 429, 500, 502...599:
      if status == 409, complaint.code.map(Self.passing.contains) != true { return .refused(error(.refused)) }
      return .later(wait, error(.temporary))
    case 501: return .unsupported(complaint.code ?? text)
    case 400 where complaint.code == "NotImplemented": return .unsupported("NotImplemented")
    case 400 where complaint.code.map(Self.passing.contains) == true: return .later(wait, error(.temporary))
    case 400 where ["XAmzContentSHA256Mismatch", "BadDigest", "IncompleteBody"].contains(complaint.code):
      // What was sent is not what arrived: it is sent again.
      return .later(wait, error(.temporary))
    default: return .refused(error(.refused))
    }
  }
}
