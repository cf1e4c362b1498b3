// What a server says while it runs: which versions come and go, what cannot be served and, where that is wanted, a line
// for each request. Nobody who answers, and nobody who takes down what is not to be seen, waits for who reads it.

package import Base
package import Foundation
internal import Synchronization

/// Something that a server says, one line.
package enum ServeNews: Sendable, Equatable {
  /// Another version is served than before, or one is not any more.
  case changed(String)
  /// What cannot be served, or was not said.
  case fault(String)
  /// A request and what became of it.
  case request(String)

  /// What is to be said of a change of what is served.
  ///
  /// - Parameters:
  ///   - before: The versions that were served.
  ///   - after: Those that are.
  ///   - revoked: Those that were withdrawn.
  /// - Returns: A line for each that came or went; one that takes the place of another is one line with it.
  package static func changes(
    from before: [VersionName], to after: [VersionName], revoked: Set<VersionName>
  ) -> [ServeNews] {
    var gone = before.filter { !after.contains($0) }
    var lines: [String] = []
    for name in after where !before.contains(name) {
      let old = gone.first { $0.name == name.name && !revoked.contains($0) }
      gone.removeAll { $0 == old }
      lines.append("\(name) is served" + (old.map { " in place of \($0)" } ?? ""))
    }
    let withdrawn = gone.map { "\($0) \(revoked.contains($0) ? "was revoked and " : "")is not served any more" }
    return (withdrawn + lines).map(ServeNews.changed)
  }
}

/// A request and what became of it, for the log.
package struct AnsweredRequest: Sendable {
  /// When it was answered.
  let at: Date
  /// The address of who asked.
  let peer: String?
  /// Nil, as the next, for what is no request of HTTP.
  let method: String?
  /// As it stood in the request's line.
  let target: String?
  /// Nil where who asked went away before there was one.
  let status: Int?
  /// Of the answer's body, as far as it is sent.
  let byteCount: Int
  /// From its head to its answer.
  let duration: Duration

  package init(
    at: Date = Date(), peer: String?, method: String?, target: String?, status: Int?, byteCount: Int,
    duration: Duration
  ) {
    (self.at, self.peer, self.method, self.target) = (at, peer, method, target)
    (self.status, self.byteCount, self.duration) = (status, byteCount, duration)
  }

  /// Seven words: time, address, method, path, status, bytes and milliseconds; `-` for what is not there.
  ///
  /// What who asks may choose is bounded, and has no space and nothing that is not seen. Of the target it is the path
  /// alone: a query is what somebody looks for, and what stands before a path may be a name and a password.
  package var line: String {
    let path = target.flatMap { $0.hasPrefix("/") ? $0.unicodeScalars.prefix { $0 != "?" && $0 != "#" } : nil }
    let words = [
      Timestamp.text(at), Self.word(peer), Self.word(method), Self.word(path.map { String($0) }),
      status.map { "\($0)" } ?? "-", "\(byteCount)", "\(Int((duration.seconds * 1e3).rounded()))",
    ]
    return words.joined(separator: " ")
  }

  private static func word(_ text: String?) -> String {
    let word = (text ?? "").printableASCII.replacing(" ", with: "?")
    return word.isEmpty ? "-" : word
  }
}

/// Lines on their way to who reads them, on a thread of their own.
package final class ServeLog: Sendable {
  /// Lines that may wait.
  private static let limit = 4096

  private let lane: WorkLane
  private let tell: @Sendable (ServeNews) -> Void
  private let leftOutRequestCount = Atomic(0)
  private let leftOutNewsCount = Atomic(0)

  /// Begins a log.
  ///
  /// - Parameter tell: Told each line, one after the other; may block.
  /// - Throws: ``TarnError`` `.io` when the system gives no thread.
  package init(_ tell: @escaping @Sendable (ServeNews) -> Void) throws {
    lane = try WorkLane("tarn-log", threads: 1, limit: Self.limit)
    self.tell = tell
  }

  /// Adds a request; returns at once.
  package func add(_ request: AnsweredRequest) {
    // Of what it is made of, as much would be held as somebody may send.
    let line = request.line
    if !isTaken(.request(line)) { _ = leftOutRequestCount.add(1, ordering: .relaxed) }
  }

  /// Adds what is to be said; returns at once.
  package func say(_ news: ServeNews) {
    if !isTaken(news) { _ = leftOutNewsCount.add(1, ordering: .relaxed) }
  }

  private func isTaken(_ news: ServeNews) -> Bool {
    lane.submit { [self] in
      tellOfLeftOut()
      tell(news)
    }
  }

  /// Ends the log: what was added is told, as long as somebody reads it and for ten seconds at most.
  package func close() { lane.finish(within: .seconds(10)) { [self] in tellOfLeftOut() } }

  private func tellOfLeftOut() {
    let requestCount = leftOutRequestCount.exchange(0, ordering: .relaxed)
    if requestCount > 0 {
      tell(.fault("\(requestCount.counted("request")) without a line, as nobody read the log in time"))
    }
    let newsCount = leftOutNewsCount.exchange(0, ordering: .relaxed)
    if newsCount > 0 {
      tell(
        .fault("\(newsCount.counted("line")) about what is served left out, as nobody read standard error in time"))
    }
  }
}
