// S1: the way of one question from address to address, as redirects lead it: how many are
// followed, and where it begins again. How far inside one may lead is AddressScope's (S6).

internal import Base

/// A question on its way.
struct RedirectCourse: Sendable {
  /// The most redirects that one question follows.
  private static let mostCount = 5

  /// Who is asked first, and again after a failure: where a redirect led may have expired (R18).
  private let start: WebAddress
  /// Who is to be asked now.
  private(set) var address: WebAddress
  private var count = 0

  init(from start: WebAddress) {
    self.start = start
    address = start
  }

  /// Goes where an answer leads.
  ///
  /// - Parameters:
  ///   - location: The value of `Location`.
  ///   - peer: Who sent it; nil if nobody knows.
  ///   - configuration: Says where it may lead.
  /// - Throws: ``TarnError`` `.refused`.
  mutating func follow(
    _ location: String, from peer: Peer?, _ configuration: FetchConfiguration
  ) throws(TarnError) {
    guard count < Self.mostCount else { throw TarnError(.refused, "more than \(Self.mostCount) redirects") }
    address = try configuration.redirect(to: location, from: address, at: peer)
    count += 1
  }

  /// Goes back to where it began.
  mutating func startOver() { self = RedirectCourse(from: start) }
}
