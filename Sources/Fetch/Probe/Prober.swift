// What mirrors say of shards without sending them: HEAD requests, many at a
// time, on one thread. Knows nothing of the catalog.

internal import Base
internal import CCurl
internal import Foundation
internal import Glibc

/// A place to ask about one shard.
package struct ProbeTarget: Sendable {
  package let shardID: Int64
  package let mirror: FetchMirror
  /// The size it must have, if known.
  package let expectedByteCount: Int?

  package init(shardID: Int64, mirror: FetchMirror, expectedByteCount: Int? = nil) {
    self.shardID = shardID
    self.mirror = mirror
    self.expectedByteCount = expectedByteCount
  }
}

/// What a mirror says of a shard.
package struct ProbeFinding: Sendable, Equatable {
  package enum Answer: Sendable, Equatable {
    /// It has the shard; bytes are nil when it does not say how many.
    case present(byteCount: Int?, EntityValidator)
    case absent
    /// It answers, but not with this shard; the text says what is wrong.
    case faulty(String)
    /// Nobody can tell for now.
    case unreachable(String)
  }

  package let shardID: Int64
  package let mirrorID: Int64
  package let answer: Answer
}

/// Asks about shards; one run a prober.
package final class Prober: Sendable {
  private let configuration: FetchConfiguration
  private let concurrency: Int
  private let control = LoopControl()

  /// Prepares a prober.
  ///
  /// - Parameters:
  ///   - concurrency: Questions under way at a time, `1...256`.
  ///   - configuration: Timeouts, attempts and headers; its `jobs` and limits
  ///     are those of transfers and do not matter here.
  package init(concurrency: Int = 32, configuration: FetchConfiguration = FetchConfiguration()) {
    precondition((1...256).contains(concurrency), "1 to 256 questions at a time")
    self.concurrency = concurrency
    self.configuration = configuration
  }

  /// Asks about every target.
  ///
  /// - Parameters:
  ///   - targets: What to ask about, in this order.
  ///   - onFinding: Told each answer, on the run's thread, in order of arrival.
  /// - Throws: `CancellationError` when it was stopped; ``TarnError`` if
  ///   libcurl cannot be used.
  package func run(_ targets: [ProbeTarget], onFinding: @escaping @Sendable (ProbeFinding) -> Void) async throws {
    let (configuration, control, concurrency) = (configuration, control, concurrency)
    try await withTaskCancellationHandler {
      try await ThreadedWork("tarn-probe") {
        let loop = try ProbeLoop(targets, concurrency, configuration, control, onFinding)
        try loop.run()
      }.value()
    } onCancel: {
      control.cancel()
    }
  }

  /// Stops the run, from any thread.
  package func cancel() { control.cancel() }
}

/// One question and its answer's head.
private final class ProbeExchange: WebRequestOwner {
  let address: WebAddress
  let isHead: Bool
  private(set) var head: ResponseHead?
  private var reader = ResponseHeadReader()
  private(set) var fault: String?
  let request: WebRequest
  let startedAt = ContinuousClock.now
  /// What an S3 store says is wrong; nil elsewhere.
  private var complaint: StoreComplaint?

  init(
    to address: WebAddress, isHead: Bool, tag: UInt, timeout: Duration, configuration: FetchConfiguration
  ) throws(TarnError) {
    self.address = address
    self.isHead = isHead
    complaint = address.isSigned ? StoreComplaint(isSigned: configuration.s3.isSigning) : nil
    let form = WebRequest.Form(
      address: address, tag: tag, isHead: isHead, range: isHead ? nil : "0-0",
      lines: configuration.headers(address.origin), wholeTimeout: timeout)
    request = try WebRequest(form, configuration: configuration)
    unsafe request.owner = self
  }

  /// An answer that is no good, with what a store said in it.
  func fault(_ cause: String) -> ProbeFinding.Answer {
    let error = TarnError(.refused, cause)
    return .faulty((complaint?.explaining(error) ?? error).message)
  }

  func takeHeader(_ line: [UInt8]) -> HeadStep {
    guard head == nil else { return .more }
    switch reader.read(line) {
    case .more: return .more
    case .malformed(let cause):
      fault = cause
      return .refused
    case .head(let head):
      self.head = head
      return .answered
    }
  }

  /// One byte was asked for; whoever sends more is cut off.
  func takeBody(_ bytes: RawSpan) -> Bool {
    complaint?.take(bytes)
    return bytes.byteCount <= 4_096
  }
}

/// The loop of one run; it stays on one thread.
private final class ProbeLoop {
  private struct Task {
    let target: ProbeTarget
    var address: WebAddress
    var course: ProbeCourse
    var redirectCount = 0
    /// Some servers and signed addresses refuse HEAD and serve GET.
    var isHead = true
    var notBefore = ContinuousClock.now
  }

  private let configuration: FetchConfiguration
  private let control: LoopControl
  private let concurrency: Int
  private let onFinding: @Sendable (ProbeFinding) -> Void
  private let multi: MultiHandle
  private var waiting: [ProbeTarget].SubSequence
  private var delayed: [Task] = []
  private var active: [UInt: (task: Task, exchange: ProbeExchange)] = [:]
  private var hosts: [String: HostStanding] = [:]
  private var nextTag: UInt = 1
  private var jitter: SplitMix64

  init(
    _ targets: [ProbeTarget], _ concurrency: Int, _ configuration: FetchConfiguration, _ control: LoopControl,
    _ onFinding: @escaping @Sendable (ProbeFinding) -> Void
  ) throws(TarnError) {
    multi = try MultiHandle(connectionCount: concurrency)
    self.configuration = configuration
    self.control = control
    self.concurrency = concurrency
    self.onFinding = onFinding
    waiting = targets[...]
    jitter = configuration.jitter()
  }

  func run() throws {
    try multi.attached(to: control) {
      while true {
        if control.isCancelled { throw CancellationError() }
        startDelayed()
        while active.count < concurrency, let target = waiting.popFirst() { begin(target) }
        for (tag, end) in try multi.turn() {
          guard let (task, exchange) = active.removeValue(forKey: tag) else { continue }
          ended(task, exchange, end)
        }
        if active.isEmpty, delayed.isEmpty, waiting.isEmpty { return }
        guard active.count >= concurrency || waiting.isEmpty else { continue }
        var wait = Duration.seconds(1)
        if active.count < concurrency { for task in delayed { wait = min(wait, task.notBefore - .now) } }
        try multi.wait(atMost: wait)
      }
    }
  }

  // MARK: Questions

  private func begin(_ target: ProbeTarget) {
    do throws(TarnError) {
      let address = try configuration.address(target.mirror.url)
      if address.scheme == .file { return settle(target, examine(address.filePath, target)) }
      ask(Task(target: target, address: address, course: ProbeCourse(configuration, at: .now)))
    } catch {
      settle(target, .faulty(error.message))
    }
  }

  private func startDelayed() {
    let now = ContinuousClock.now
    while active.count < concurrency, let index = delayed.firstIndex(where: { $0.notBefore <= now }) {
      ask(delayed.remove(at: index))
    }
  }

  private func ask(_ task: Task) {
    let now = ContinuousClock.now
    if let host = hosts[task.address.origin] {
      if host.isSilent(for: configuration.probeTimeout, at: now) {
        let cause = "\(task.address.origin) has answered nothing for \(configuration.probeTimeout.text)"
        return settle(task.target, .unreachable(cause))
      }
      if let until = host.notBefore, until > now {
        return go(on: task, task.course.step(notBefore: until), "the server asks to be left alone for longer")
      }
    }
    let tag = nextTag
    nextTag += 1
    do throws(TarnError) {
      let exchange = try ProbeExchange(
        to: task.address, isHead: task.isHead, tag: tag, timeout: task.course.timeLeft(at: now),
        configuration: configuration)
      try multi.add(exchange.request)
      active[tag] = (task, exchange)
    } catch {
      settle(task.target, .faulty(error.message))
    }
  }

  private func examine(_ path: String, _ target: ProbeTarget) -> ProbeFinding.Answer {
    guard let size = Disk.size(of: path) else {
      return unsafe access(path, F_OK) == 0 ? .faulty("it is not a regular file") : .absent
    }
    return judge(byteCount: size, EntityValidator(), target)
  }

  // MARK: Answers

  private func ended(_ task: Task, _ exchange: ProbeExchange, _ end: RequestEnd) {
    let (now, origin) = (ContinuousClock.now, task.address.origin)
    if exchange.head != nil || exchange.fault != nil {
      hosts[origin, default: HostStanding()].answered(at: now)
    } else {
      hosts[origin, default: HostStanding()].wasSilent(since: exchange.startedAt)
    }
    if let fault = exchange.fault { return settle(task.target, .faulty(fault)) }
    guard let head = exchange.head else {
      let error = exchange.request.networkError(end)
      return error.code == .temporary
        ? again(task, after: nil, error.message) : settle(task.target, .faulty(error.message))
    }
    switch head.statusCode {
    case 200: settle(task.target, judge(head, task.target))
    case 206 where !exchange.isHead: settle(task.target, judge(head, task.target))
    case 301, 302, 303, 307, 308: follow(task, head, exchange)
    case 404, 410: settle(task.target, .absent)
    case 408, 425, 429, 500, 502...599:
      let wait = ResponseClassifier.retryAfter(head, at: Date(), cap: configuration.retryAfterCap)
      if let wait { hosts[origin]?.asked(toWait: wait, at: now) }
      again(task, after: wait, "the server answered \(head.statusCode)")
    case 400, 401, 403, 405, 501:
      guard exchange.isHead else {
        return settle(task.target, exchange.fault("access refused (\(head.statusCode))"))
      }
      var task = task
      task.isHead = false
      ask(task)
    default: settle(task.target, .faulty("an answer of status \(head.statusCode)"))
    }
  }

  private func judge(_ head: ResponseHead, _ target: ProbeTarget) -> ProbeFinding.Answer {
    for value in head.values("content-encoding") where !["identity", ""].contains(value.lowercased()) {
      return .faulty("a body encoded as '\(printable(value, limit: 20))'")
    }
    if head.statusCode == 206 {
      guard let text = head.value("content-range"), let total = ContentRange(text)?.total else {
        return .present(byteCount: nil, head.validator)
      }
      return judge(byteCount: total, head.validator, target)
    }
    switch head.bodyLength {
    case .contradictory: return .faulty("a Content-Length that is no single number")
    case .unknown: return .present(byteCount: nil, head.validator)
    case .exactly(let count): return judge(byteCount: count, head.validator, target)
    }
  }

  private func judge(
    byteCount: Int, _ validator: EntityValidator, _ target: ProbeTarget
  ) -> ProbeFinding.Answer {
    if let expected = target.expectedByteCount, byteCount != expected {
      return .faulty("\(byteCount) bytes offered where the shard has \(expected)")
    }
    guard byteCount > 0 else { return .faulty("an empty file") }
    return .present(byteCount: byteCount, validator)
  }

  private func follow(_ task: Task, _ head: ResponseHead, _ exchange: ProbeExchange) {
    var task = task
    task.redirectCount += 1
    // A store that has the bucket elsewhere says where in the body alone.
    if head.value("location") == nil, task.address.isSigned, exchange.isHead {
      task.isHead = false
      return ask(task)
    }
    guard let location = head.value("location"), task.redirectCount <= 5 else {
      return settle(task.target, exchange.fault("a redirect that leads nowhere"))
    }
    do throws(TarnError) {
      task.address = try configuration.redirect(to: location, from: task.address, at: exchange.request.peer)
      ask(task)
    } catch {
      settle(task.target, .faulty(error.message))
    }
  }

  private func again(_ task: Task, after wait: Duration?, _ cause: String) {
    var task = task
    let step = task.course.step(after: wait, TarnError(.temporary, cause), at: .now, using: &jitter)
    // From the mirror's own address: a redirect's may have expired (R18).
    if task.redirectCount > 0, let own = try? configuration.address(task.target.mirror.url) {
      task.address = own
      task.redirectCount = 0
    }
    go(on: task, step, cause)
  }

  private func go(on task: Task, _ step: ProbeCourse.Step, _ cause: String) {
    guard case .again(let time) = step else { return settle(task.target, .unreachable(cause)) }
    var task = task
    task.notBefore = time
    delayed.append(task)
  }

  private func settle(_ target: ProbeTarget, _ answer: ProbeFinding.Answer) {
    onFinding(ProbeFinding(shardID: target.shardID, mirrorID: target.mirror.id, answer: answer))
  }
}
