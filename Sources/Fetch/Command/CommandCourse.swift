// The course of one command, from its start until every process of it is gone. Pure:
// what is seen and the time are handed in, and what to do is handed out.
//
// Invariants:
// 1. Every course ends: what does not end by itself is asked to, then killed, then
//    given up.
// 2. The first reason to end a command is the one that is told.

package import Base

/// How long a command may take, and how it is ended.
package struct CommandRules: Sendable, Equatable {
  /// How long it may run.
  package var timeout: Duration = .seconds(6 * 3_600)
  /// Between the request to end (SIGTERM) and the kill.
  package var grace: Duration = .seconds(10)
  /// The same where the user stops tarn, which itself has 1.5 s.
  package var graceWhenStopped: Duration = .milliseconds(500)
  /// How long a killed one is waited for: the kernel may hold it in a system call.
  package var patienceWithKilled: Duration = .seconds(30)
  /// Between two looks at it and its output.
  package var interval: Duration = .milliseconds(100)

  package init() {}
}

/// Where a command stands and what is to be done about it.
package struct CommandCourse: Sendable {
  /// Why a command was ended.
  package enum Cause: Sendable, Equatable {
    case timedOut
    case stopped
    /// It wrote more than the shard has, or than there is room for.
    case wrote(TarnError)
  }

  /// How a process ended: 0 to 255, or 256 and a signal's number.
  package typealias End = Int32

  /// What is seen at one moment.
  package struct Look: Sendable {
    /// How it ended; nil while it runs.
    package var end: End?
    package var isStopped = false
    /// What speaks against what it wrote so far.
    package var fault: TarnError?

    package init(end: End? = nil, isStopped: Bool = false, fault: TarnError? = nil) {
      self.end = end
      self.isStopped = isStopped
      self.fault = fault
    }
  }

  /// What to do next.
  package enum Step: Sendable, Equatable {
    case wait(Duration)
    /// Send SIGTERM to all of it, and look again.
    case terminate
    /// Send SIGKILL to all of it, and look again.
    case kill
    /// It is over; `end` is nil when not even a kill ended it.
    case over(end: End?, cause: Cause?)
  }

  private enum Phase {
    case running
    case ending(Cause, killAt: ContinuousClock.Instant)
    case killed(Cause, giveUpAt: ContinuousClock.Instant)
  }

  private let rules: CommandRules
  private let deadline: ContinuousClock.Instant
  private var phase = Phase.running

  package init(_ rules: CommandRules, at now: ContinuousClock.Instant) {
    self.rules = rules
    deadline = now + rules.timeout
  }

  /// Decides by what is seen.
  package mutating func step(_ look: Look, at now: ContinuousClock.Instant) -> Step {
    switch phase {
    case .running:
      if let end = look.end { return .over(end: end, cause: nil) }
      let cause: Cause? =
        look.isStopped ? .stopped : look.fault.map { .wrote($0) } ?? (now >= deadline ? .timedOut : nil)
      guard let cause else { return .wait(min(rules.interval, deadline - now)) }
      phase = .ending(cause, killAt: now + (look.isStopped ? rules.graceWhenStopped : rules.grace))
      return .terminate
    case .ending(let cause, let killAt):
      if let end = look.end { return .over(end: end, cause: cause) }
      // Who stops tarn does not wait for what a command was given before.
      let killAt = look.isStopped ? min(killAt, now + rules.graceWhenStopped) : killAt
      phase = .ending(cause, killAt: killAt)
      guard now >= killAt else { return .wait(min(rules.interval, killAt - now)) }
      phase = .killed(cause, giveUpAt: now + rules.patienceWithKilled)
      return .kill
    case .killed(let cause, let giveUpAt):
      if look.end != nil || now >= giveUpAt { return .over(end: look.end, cause: cause) }
      return .wait(rules.interval)
    }
  }
}

/// What became of one run of a command.
package struct CommandRecord: Sendable, Equatable {
  /// A file that it declared to read, as it was before the run.
  package struct Input: Sendable, Equatable {
    package let path: String
    package let digest: ContentDigest
    package let byteCount: Int
  }

  /// The command as the user wrote it, its ordinal filled in.
  package var line: String
  package var inputs: [Input] = []
  /// Its exit status; nil when a signal ended it or it never began.
  package var exitStatus: Int?
  /// The signal that ended it.
  package var signal: Int?
  package var duration: Duration = .zero
  /// The last of what it printed.
  package var tail = ""
  /// The digest of what it wrote, once that is in the lake.
  package var output: ContentDigest?

  package init(line: String) { self.line = line }

  /// Takes how it ended.
  package mutating func take(_ end: CommandCourse.End?) {
    guard let end else { return }
    if end >= 256 { signal = Int(end - 256) } else { exitStatus = Int(end) }
  }

  /// What is wrong with how it ended; nil for exit status 0.
  ///
  /// - Parameters:
  ///   - cause: Why it was ended.
  ///   - rules: How long it had.
  /// - Returns: `.temporary` for exit status 75, `.interrupted` for a stop, else what
  ///   another run would meet again.
  package func failure(_ cause: CommandCourse.Cause?, _ rules: CommandRules) -> TarnError? {
    switch cause {
    case .stopped: return TarnError(.interrupted, "stopped")
    case .wrote(let error): return error
    case .timedOut:
      return TarnError(
        .refused, "the command did not end within \(TimeSpan.text(seconds: rules.timeout.seconds))\(said)",
        hint: "give it longer with --command-timeout, or see what it waits for")
    case nil: break
    }
    let hint = "run it by hand to see why"
    if let signal { return TarnError(.refused, "the command was ended by signal \(signal)\(said)", hint: hint) }
    guard let exitStatus else { return TarnError(.io, "the command cannot be ended") }
    if exitStatus == 0 { return nil }
    // sysexits.h: EX_TEMPFAIL, "the user is invited to retry".
    return exitStatus == 75
      ? TarnError(.temporary, "the command says that it may pass (exit status 75)\(said)")
      : TarnError(.refused, "the command failed with exit status \(exitStatus)\(said)", hint: hint)
  }

  /// The last line of what it printed, for a message.
  private var said: String {
    let last = tail.split(separator: "\n").last { $0.contains { !$0.isWhitespace } }
    return last.map { ", saying '\($0.printable)'" } ?? ""
  }
}
