// What mirrors say of shards without sending them: HEAD requests, and the first
// bytes where rows are asked for, many at a time, on one thread. Knows nothing of the catalog.

internal import Base
internal import CCurl
internal import Features
internal import Foundation
internal import Glibc

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

/// How a shard is asked about: each way for servers that refuse the one before.
private enum ProbeForm: Equatable {
  /// `HEAD`.
  case head
  /// `GET` of the first byte: some refuse HEAD, or leave the length out.
  case oneByte
  /// `GET`, broken off behind the head: some refuse ranges.
  case whole
  /// `GET` of so many bytes from the start, for what they say.
  case start(byteCount: Int)
  /// The same without a range, broken off behind them.
  case startOfWhole(byteCount: Int)

  var range: String? {
    switch self {
    case .head, .whole, .startOfWhole: nil
    case .oneByte: "0-0"
    case .start(let byteCount): "0-\(byteCount - 1)"
    }
  }

  /// Bytes from the start that are wanted; nil where only the answer's head is.
  var startByteCount: Int? {
    switch self {
    case .start(let byteCount), .startOfWhole(let byteCount): byteCount
    case .head, .oneByte, .whole: nil
    }
  }

  /// Bytes of the body that are read; whoever sends more is cut off.
  var mostByteCount: Int { startByteCount ?? 4_096 }
}

/// One question and its answer's head.
private final class ProbeExchange: WebRequestOwner {
  let address: WebAddress
  let form: ProbeForm
  private(set) var head: ResponseHead?
  private var reader = ResponseHeadReader()
  private(set) var fault: String?
  let request: WebRequest
  let startedAt = ContinuousClock.now
  /// The body as far as it was wanted.
  private(set) var body: [UInt8] = []
  private var bodyByteCount = 0
  /// What an S3 store says is wrong; nil elsewhere.
  private var complaint: StoreComplaint?

  init(
    to address: WebAddress, _ form: ProbeForm, tag: UInt, timeout: Duration, configuration: FetchConfiguration
  ) throws(TarnError) {
    self.address = address
    self.form = form
    complaint = StoreComplaint(from: address, configuration)
    var asked = configuration.form(to: address, tag: tag)
    asked.isHead = form == .head
    asked.range = form.range
    asked.wholeTimeout = timeout
    request = try WebRequest(asked, configuration: configuration)
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

  func takeBody(_ bytes: RawSpan) -> Bool {
    complaint?.take(bytes)
    bodyByteCount += bytes.byteCount
    if let wanted = form.startByteCount, body.count < wanted {
      unsafe bytes.withUnsafeBytes { unsafe body.append(contentsOf: $0.prefix(wanted - body.count)) }
    }
    return bodyByteCount <= form.mostByteCount
  }
}

/// The loop of one run; it stays on one thread.
private final class ProbeLoop {
  private struct Task {
    let target: ProbeTarget
    var way: RedirectCourse
    var address: WebAddress { way.address }
    var course: ProbeCourse
    var form = ProbeForm.head
    /// What is known already while the beginning is asked for.
    var fact: ProbeFinding.Answer?
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
      let address = try configuration.address(target.mirror)
      if address.scheme == .file { return examine(address.filePath, target) }
      ask(Task(target: target, way: RedirectCourse(from: address), course: ProbeCourse(configuration, at: .now)))
    } catch {
      settle(target, .faulty(error.description))
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
        to: task.address, task.form, tag: tag, timeout: task.course.timeLeft(at: now),
        configuration: configuration)
      try multi.add(exchange.request)
      active[tag] = (task, exchange)
    } catch {
      settle(task.target, .faulty(error.message))
    }
  }

  private func ask(_ task: Task, as form: ProbeForm) {
    var task = task
    task.form = form
    ask(task)
  }

  private func examine(_ path: String, _ target: ProbeTarget) {
    guard let size = Disk.size(of: path) else {
      return settle(target, unsafe access(path, F_OK) == 0 ? .faulty("it is not a regular file") : .absent)
    }
    let answer = judge(byteCount: size, EntityValidator(), target)
    guard case .present = answer, let kind = target.kind, let dimension = kind.dimension, let type = kind.elementType
    else { return settle(target, answer) }
    do {
      let rowCount = try FeatureFile.rowCount(
        of: path, as: kind.format, array: kind.array, dimension: dimension, elementType: type)
      settle(target, answer, rowCount: rowCount)
    } catch {
      settle(target, .faulty("\(error)"))
    }
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
    switch (head.statusCode, task.form) {
    case _ where head.isRedirect: follow(task, head, exchange)
    case (416, .oneByte) where head.value("content-range").flatMap(ContentRange.init)?.total == 0:
      settle(task.target, .faulty("an empty file"))
    // R20: it may be the range that is refused.
    case (let status, .oneByte) where mayRefuseRange(status): ask(task, as: .whole)
    case (let status, .start(let byteCount)) where mayRefuseRange(status):
      ask(task, as: .startOfWhole(byteCount: byteCount))
    case (408, _), (425, _), (429, _), (500, _), (502...599, _):
      let wait = ResponseClassifier.retryAfter(head, at: Date(), cap: configuration.retryAfterCap)
      if let wait { hosts[origin]?.asked(toWait: wait, at: now) }
      again(task, after: wait, "the server answered \(head.statusCode)")
    case (_, .start), (_, .startOfWhole): takeStart(exchange, head, of: task)
    case (200, .head) where !saysLength(head): ask(task, as: .oneByte)
    case (200, _), (206, .oneByte), (206, .whole): conclude(task, judge(head, task.target))
    case (404, _), (410, _): settle(task.target, .absent)
    // Some servers and signed addresses refuse HEAD and serve GET.
    case (400, .head), (401, .head), (403, .head), (405, .head), (501, .head): ask(task, as: .oneByte)
    case (400, _), (401, _), (403, _), (405, _), (501, _):
      settle(
        task.target, exchange.fault("access refused (\(head.statusCode))"),
        wayIn: configuration.wayIn(
          to: task.address, after: head.statusCode, isWithheld: exchange.request.isLoginWithheld))
    default: settle(task.target, .faulty("an answer of status \(head.statusCode)"))
    }
  }

  private func mayRefuseRange(_ status: Int) -> Bool {
    status == 416 || ResponseClassifier.rangeRefusals.contains(status)
  }

  /// Whether an answer to HEAD says how long the file is: 0 and nothing are what
  /// servers say that do not know.
  private func saysLength(_ head: ResponseHead) -> Bool {
    switch head.bodyLength {
    case .unknown, .exactly(0): false
    case .exactly, .contradictory: true
    }
  }

  /// Ends a question, or asks for the beginning of what is there.
  private func conclude(_ task: Task, _ answer: ProbeFinding.Answer) {
    guard case .present = answer, task.target.kind != nil else { return settle(task.target, answer) }
    var task = task
    task.fact = answer
    task.way.startOver()
    ask(task, as: .start(byteCount: 4_096))
  }

  /// Takes what the first bytes say: the rows, or that it is another file.
  private func takeStart(_ exchange: ProbeExchange, _ head: ResponseHead, of task: Task) {
    guard let fact = task.fact, let kind = task.target.kind else { return }
    let size: Int? = if case .present(let byteCount, _) = fact { byteCount } else { nil }
    let isStart =
      head.statusCode == 200
      || head.statusCode == 206
        && head.value("content-range").flatMap(ContentRange.init)?.span?.lowerBound == 0
    guard isStart, head.encoding == nil else { return settle(task.target, fact) }
    let bytes = exchange.body
    switch FeatureHead.parse(bytes, of: kind.format, byteCount: task.target.expectedByteCount ?? size) {
    case .malformed(let cause): settle(task.target, .faulty(cause))
    case .needsMore:
      let wanted = exchange.form.mostByteCount
      guard bytes.count == wanted, wanted < FeatureHead.maximumByteCount else { return settle(task.target, fact) }
      ask(task, as: .start(byteCount: min(16 * wanted, FeatureHead.maximumByteCount)))
    case .head(let found):
      if let fault = found.fault(dimension: kind.dimension, elementType: kind.elementType) {
        return settle(task.target, .faulty(fault))
      }
      if let size, size != found.fileByteCount {
        return settle(
          task.target, .faulty("the server says \(size) bytes and its header declares \(found.fileByteCount)"))
      }
      settle(task.target, fact, rowCount: found.rowCount, head: found)
    }
  }

  private func judge(_ head: ResponseHead, _ target: ProbeTarget) -> ProbeFinding.Answer {
    if let fault = ResponseClassifier.encodingFault(head) { return .faulty(fault) }
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
      return .faulty("\(byteCount) bytes offered where the file has \(expected)")
    }
    guard byteCount > 0 else { return .faulty("an empty file") }
    return .present(byteCount: byteCount, validator)
  }

  private func follow(_ task: Task, _ head: ResponseHead, _ exchange: ProbeExchange) {
    // A store that has the bucket elsewhere says where in the body alone.
    if head.value("location") == nil, task.address.isSigned, task.form == .head { return ask(task, as: .oneByte) }
    guard let location = head.value("location") else {
      return settle(task.target, exchange.fault("a redirect that leads nowhere"))
    }
    var task = task
    do throws(TarnError) {
      try task.way.follow(location, from: exchange.request.peer, configuration)
      ask(task)
    } catch {
      settle(task.target, .faulty(error.message))
    }
  }

  private func again(_ task: Task, after wait: Duration?, _ cause: String) {
    var task = task
    let step = task.course.step(after: wait, TarnError(.temporary, cause), at: .now, using: &jitter)
    // From the mirror's own address: a redirect's may have expired (R18).
    task.way.startOver()
    go(on: task, step, cause)
  }

  private func go(on task: Task, _ step: ProbeCourse.Step, _ cause: String) {
    guard case .again(let time) = step else {
      let wait = hosts[task.address.origin]?.notBefore.map { $0 - .now }
      return settle(task.target, .unreachable(cause), retryAfter: wait)
    }
    var task = task
    task.notBefore = time
    delayed.append(task)
  }

  private func settle(
    _ target: ProbeTarget, _ answer: ProbeFinding.Answer, rowCount: Int? = nil, head: FeatureHead? = nil,
    retryAfter: Duration? = nil, wayIn: String? = nil
  ) {
    onFinding(
      ProbeFinding(
        shardID: target.shardID, mirrorID: target.mirror.id, answer: answer, rowCount: rowCount, head: head,
        retryAfter: retryAfter, wayIn: wayIn))
  }
}
