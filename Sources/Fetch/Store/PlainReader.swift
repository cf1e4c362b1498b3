// Small files of a web site, a store or this machine, into memory: documents, which
// are judged by who asked for them.

package import Base
internal import CCurl
internal import Foundation

/// Reads small files by their addresses.
///
/// Blocks the thread that calls it; it lives on one.
@safe package final class PlainReader {
  private let configuration: FetchConfiguration
  private let clock: () -> ContinuousClock.Instant
  private let isCancelled: () -> Bool
  private let onTrouble: (_ host: String, _ pause: Duration, _ left: Duration) -> Void
  private let multi: MultiHandle
  private var patience: HostPatience

  /// Prepares a reader for the calling thread.
  ///
  /// - Parameters:
  ///   - configuration: How to ask.
  ///   - patience: How long a host that fails for now is waited for.
  ///   - clock: What patience is measured by.
  ///   - isCancelled: Asked several times a second; true ends the work.
  ///   - onTrouble: Told at the first wait of each trouble of a host: for how long now,
  ///     and how long at most.
  /// - Throws: ``TarnError`` `.io` if libcurl cannot be used.
  package init(
    configuration: FetchConfiguration, patience: Duration, clock: @escaping () -> ContinuousClock.Instant,
    isCancelled: @escaping () -> Bool,
    onTrouble: @escaping (_ host: String, _ pause: Duration, _ left: Duration) -> Void
  ) throws(TarnError) {
    self.clock = clock
    self.onTrouble = onTrouble
    multi = try MultiHandle(connectionCount: 2)
    self.configuration = configuration
    self.patience = HostPatience(limit: patience)
    self.isCancelled = isCancelled
  }

  /// The bytes of a file; nil when there is none.
  ///
  /// - Parameters:
  ///   - url: An `http`, `https`, `s3` or `file` address.
  ///   - limit: The most bytes that it may have.
  /// - Returns: All of them.
  /// - Throws: ``TarnError``; `.integrity` for a longer one, or what is no file.
  package func contents(of url: String, atMost limit: Int) throws(TarnError) -> [UInt8]? {
    let mirror = FetchMirror(id: 0, url: url)
    let address = try configuration.address(mirror)
    if address.scheme == .file {
      do throws(TarnError) {
        return try Disk.contents(of: address.filePath, atMost: limit)
      } catch {
        if error.code == .inputsMissing { return nil }
        // As of a server: what lies there is none of the small files that are asked for.
        guard
          error.code == .usage
            || error.code == .io && Disk.identity(of: address.filePath) != nil
              && Disk.size(of: address.filePath) == nil
        else { throw error }
        throw TarnError(.integrity, error.message, hint: "name another place")
      }
    }
    return try answer(at: address, atMost: limit)?.body
  }

  /// A server's answer with the bytes of a file; nil when there is none.
  ///
  /// - Parameters:
  ///   - url: An `http`, `https` or `s3` address.
  ///   - limit: The most bytes that it may have.
  /// - Returns: The answer, whose status is 200.
  /// - Throws: ``TarnError``; `.integrity` for a longer one, or what is no file.
  func answer(of url: String, atMost limit: Int) throws(TarnError) -> StoreAnswer? {
    let address = try configuration.address(FetchMirror(id: 0, url: url))
    guard address.scheme != .file else {
      throw TarnError(.usage, "no address of a server: \(address.redacted)", hint: "name an https:// one")
    }
    return try answer(at: address, atMost: limit)
  }

  private func answer(at address: WebAddress, atMost limit: Int) throws(TarnError) -> StoreAnswer? {
    do throws(TarnError) {
      while true {
        let reply = try Reply { () throws(TarnError) in try ask(address, atMost: limit) }
        switch reply {
        case .answer(let answer):
          patience.delivered()
          return answer
        case .later(let wait, let error):
          let now = clock()
          guard let pause = patience.failed(askingFor: wait, at: now) else { throw error }
          if pause.isFirst { onTrouble(address.origin, pause.length, pause.left) }
          try waitOut(until: now + pause.length, by: clock, isCancelled: isCancelled)
        }
      }
    } catch {
      throw error.code == .interrupted ? error : error.about(address.redacted)
    }
  }

  /// One question and its answer, redirects included; nil where there is nothing.
  private func ask(_ start: WebAddress, atMost limit: Int) throws(TarnError) -> Reply<StoreAnswer?> {
    var course = RedirectCourse(from: start)
    while true {
      let address = course.address
      let exchange = try PlainExchange(configuration.form(to: address), atMost: limit, configuration)
      let end = try multi.perform(exchange, isCancelled: isCancelled)
      let answer = try exchange.answer(end)
      let head = answer.head
      switch head.statusCode {
      case 200:
        if let fault = ResponseClassifier.encodingFault(head) { throw TarnError(.integrity, fault) }
        return .answer(answer)
      case _ where head.isRedirect:
        guard let location = head.value("location") else {
          throw TarnError(.integrity, "a redirect (\(head.statusCode)) without a Location")
        }
        try course.follow(location, from: exchange.request.peer, configuration)
      case 410: return .answer(nil)
      default:
        let verdict = answer.verdict(
          unsigned: address.isSigned ? configuration.s3.whyUnsigned : nil, at: Date(), cap: configuration.retryAfterCap)
        switch verdict {
        case .absent: return .answer(nil)
        case .later(let wait, let error): return .later(wait, error)
        case .refused(let error):
          let wayIn = configuration.wayIn(
            to: address, after: head.statusCode, isWithheld: exchange.request.isLoginWithheld)
          throw TarnError(error.code, error.message, hint: error.hint ?? wayIn)
        case .done, .conditionFailed, .unsupported: throw TarnError(.refused, "HTTP \(head.statusCode)")
        }
      }
    }
  }
}
