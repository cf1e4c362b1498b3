// An encoder's program and the queries before it: what is asked when, whose answer a line
// is, when the program is started and when it is killed. Pure: what is seen and the time
// are handed in, and what to do is handed out.
//
// Invariants:
// 1. Every query is answered once: with its own line, or with a fault.
// 2. Lines are answers in the order of the queries; a line that cannot be one ends the
//    program before another query gets what may be somebody else's answer.
// 3. No query is asked more than twice by ends that may be its fault, no program is started
//    for ever, and neither an answer nor the end of what was killed is waited for longer
//    than the rules say.
// 4. One program at a time: while one that cannot be killed is there, queries fail.

package import Base

/// What ended a query or a program.
package enum EncoderFault: Error, Sendable, Equatable {
  /// It could not be started.
  case notStarted(TarnError)
  case timedOut
  /// It ended: 0 to 255, or 256 and a signal's number; nil where it closed its streams only.
  case ended(Int32?)
  /// A line that is no answer, its beginning.
  case garbage(String)
  /// A line when nothing was asked.
  case unasked
  /// The answer of another query than the one whose turn it was.
  case outOfStep
  case longLine
  /// The encoder's words on one query.
  case said(String)
  /// More wait than the rules allow.
  case busy
  /// A program that was killed is there still.
  case unkillable
}

/// The course of one program and what is asked of it.
package struct EncoderCourse: Sendable {
  package typealias Instant = ContinuousClock.Instant

  /// What to do next.
  package enum Step: Sendable, Equatable {
    /// Start the program.
    case start
    /// Close its input, kill it and all that it started, and tell ``EncoderCourse/ended(_:at:)``.
    case kill
    /// Nothing until something is seen, or for so long.
    case wait(Duration?)
  }

  private struct Item: Sendable {
    let id: Int64
    let line: [UInt8]
    /// How often a program ended when it was this query's turn.
    var endCount = 0
  }

  private enum Phase: Equatable {
    case none, running
    case killing(since: Instant)
    /// Killed in vain, as what runs under another user is, or what the kernel holds.
    case stuck
  }

  /// How often one that is stuck is looked at.
  private static let lookInterval = Duration.milliseconds(200)

  /// Bytes of queries that are handed to a program before it has answered.
  private static let mostOutgoingByteCount = 1 << 20

  private let rules: EncoderRules
  private var phase = Phase.none
  private var waiting = Queue<Item>()
  private var inFlight = Queue<Item>()
  /// Since when it is the first one's turn.
  private var turnBegan: Instant?
  private var outgoing: [UInt8] = []
  private var incoming: [UInt8] = []
  private var failureCount = 0
  private var pausedUntil: Instant?
  private var lastFault = EncoderFault.busy
  private var answers: [(id: Int64, result: Result<[Float], EncoderFault>)] = []

  package init(_ rules: EncoderRules) { self.rules = rules }

  /// Whether there is a program that was killed in vain.
  package var isStuck: Bool { phase == .stuck }

  /// What a program is to be given, as far as it takes it.
  package var toWrite: [UInt8] { outgoing }

  /// The answers since the last call, each told once.
  package mutating func takeAnswers() -> [(id: Int64, result: Result<[Float], EncoderFault>)] {
    defer { answers = [] }
    return answers
  }

  // MARK: What is seen

  /// A query, under a number that no other has.
  package mutating func ask(_ id: Int64, _ line: [UInt8]) {
    guard waiting.count < rules.mostWaiting else { return fail(id, .busy) }
    waiting.append(Item(id: id, line: line))
  }

  /// The program runs, and is given what waits: one that ends at once ends with that before it.
  package mutating func started(at now: Instant) {
    precondition(phase == .none, "a program is started while another runs")
    phase = .running
    handOut(at: now)
  }

  package mutating func couldNotStart(_ error: TarnError, at now: Instant) {
    failureCount = max(failureCount + 1, rules.failuresInARow)
    giveUp(.notStarted(error), at: now)
  }

  /// The program took some of ``toWrite``.
  package mutating func wrote(_ count: Int) { outgoing.removeFirst(count) }

  /// Bytes of the program's output.
  package mutating func received(_ bytes: some Collection<UInt8>, at now: Instant) {
    guard phase == .running else { return }
    incoming += bytes
    var first = 0
    while phase == .running, let end = incoming[first...].firstIndex(of: 0x0A) {
      take(Array(incoming[first..<end]), at: now)
      first = end + 1
    }
    guard phase == .running else {
      incoming = []
      return
    }
    incoming.removeFirst(first)
    if incoming.count > rules.mostLineByteCount { spoil(.longLine, at: now) }
  }

  /// The program's input or output is closed, or cannot be used.
  package mutating func closed(at now: Instant) {
    guard phase == .running else { return }
    phase = .killing(since: now)
    if !inFlight.isEmpty { bury(.ended(nil), at: now) }
  }

  /// The program is gone.
  ///
  /// - Parameters:
  ///   - end: How it ended.
  ///   - now: The time.
  package mutating func ended(_ end: Int32, at now: Instant) {
    if phase == .running, !inFlight.isEmpty { bury(.ended(end), at: now) }
    (phase, outgoing, incoming, turnBegan) = (.none, [], [], nil)
  }

  // MARK: What to do

  /// Decides by what was seen.
  package mutating func step(at now: Instant) -> Step {
    switch phase {
    case .killing(let since):
      guard now - since >= rules.patienceWithKilled else { return .kill }
      phase = .stuck
      fallthrough
    case .stuck:
      failAll(.unkillable)
      return .wait(Self.lookInterval)
    case .none:
      guard !waiting.isEmpty else { return .wait(nil) }
      if let pausedUntil, now < pausedUntil {
        failAll(lastFault)
        return .wait(nil)
      }
      return .start
    case .running:
      handOut(at: now)
      guard let turnBegan else { return .wait(nil) }
      let left = turnBegan + rules.timeout - now
      if left > .zero { return .wait(left) }
      spoil(.timedOut, at: now)
      return .kill
    }
  }

  private mutating func handOut(at now: Instant) {
    while inFlight.count < rules.mostInFlight, outgoing.count < Self.mostOutgoingByteCount,
      let item = waiting.popFirst()
    {
      if inFlight.isEmpty { turnBegan = now }
      outgoing += item.line
      inFlight.append(item)
    }
  }

  private mutating func take(_ bytes: [UInt8], at now: Instant) {
    guard bytes.count <= rules.mostLineByteCount else { return spoil(.longLine, at: now) }
    guard let item = inFlight.first else { return spoil(.unasked, at: now) }
    guard let line = EncoderLine(bytes) else {
      return spoil(.garbage(String(decoding: bytes.prefix(240), as: UTF8.self).printable(atMost: 60)), at: now)
    }
    guard line.id == nil || line.id == item.id else { return spoil(.outOfStep, at: now) }
    _ = inFlight.popFirst()
    (failureCount, pausedUntil) = (0, nil)
    turnBegan = inFlight.isEmpty ? nil : now
    switch line.answer {
    case .vector(let vector): answers.append((item.id, .success(vector)))
    case .failure(let words): fail(item.id, .said(words))
    }
  }

  /// Ends a program that cannot be believed; the query whose turn it was fails.
  private mutating func spoil(_ fault: EncoderFault, at now: Instant) {
    phase = .killing(since: now)
    if let item = inFlight.popFirst() { fail(item.id, fault) }
    askAgain(after: fault, at: now)
  }

  /// A program ended by itself with queries before it.
  private mutating func bury(_ fault: EncoderFault, at now: Instant) {
    guard var item = inFlight.popFirst() else { return }
    item.endCount += 1
    if item.endCount < 2 { inFlight.prepend(item) } else { fail(item.id, fault) }
    askAgain(after: fault, at: now)
  }

  private mutating func askAgain(after fault: EncoderFault, at now: Instant) {
    for item in inFlight.elements.reversed() { waiting.prepend(item) }
    inFlight.removeAll()
    turnBegan = nil
    failureCount += 1
    if failureCount >= rules.failuresInARow { giveUp(fault, at: now) }
  }

  private mutating func giveUp(_ fault: EncoderFault, at now: Instant) {
    let pause = rules.firstPause.doubled(afterFailures: failureCount - rules.failuresInARow + 1)
    pausedUntil = now + min(pause, rules.longestPause)
    lastFault = fault
    failAll(fault)
  }

  private mutating func failAll(_ fault: EncoderFault) {
    for item in waiting.elements { fail(item.id, fault) }
    waiting.removeAll()
  }

  private mutating func fail(_ id: Int64, _ fault: EncoderFault) { answers.append((id, .failure(fault))) }
}
