// R14: when a server has been silent for too long, before its answer or in the
// middle of a body. Pure: the time is handed in.
//
// Invariants:
// 1. Nothing but an answer and bytes puts an end off: no other window, limit or
//    decision can restart this one.
// 2. Time in which nobody read, or nobody looked, is not the server's.

/// The watch over one request, from when it is sent to its end.
package struct RequestWatch: Sendable {
  /// How long a server may be silent.
  package struct Rules: Sendable, Equatable {
    /// From the request, connecting included, to the end of the answer's head.
    package var answerTimeout: Duration = .seconds(30)
    /// A body that brings fewer than `stallByteCount` in this time has stalled.
    package var stallTimeout: Duration = .seconds(30)
    package var stallByteCount = 30_000
    /// For the whole request, whatever comes; nil for no end.
    package var wholeTimeout: Duration?

    package init() {}

    /// Lets an answer take so long: some begin it before they know how it ends, and send blanks meanwhile.
    package mutating func allow(_ time: Duration) {
      answerTimeout = time
      stallTimeout = max(stallTimeout, time)
    }

    /// Bytes that libcurl takes of a body at a time. https://curl.se/libcurl/c/CURLOPT_UPLOAD_BUFFERSIZE.html
    private static let sentByteCount = 64 << 10

    /// The rules of a body that is sent.
    ///
    /// - Parameter rate: Most bytes of it a second, nil for no limit: a block goes out at once, and then none for as long
    ///   as it is worth at that rate.
    /// - Returns: Rules by which it has stalled when it stood still for longer.
    package func sending(atMost rate: Int?) -> Rules {
      var rules = self
      if let rate { rules.stallTimeout = max(stallTimeout, .seconds(2 * Self.sentByteCount / max(1, rate))) }
      return rules
    }
  }

  /// Why a request is given up.
  package enum Reason: Sendable, Equatable {
    case unanswered, stalled, outOfTime
  }

  /// What had been heard by a time.
  private struct Mark {
    var at: Duration
    var heard: Int
  }

  package let rules: Rules
  private var lookedAt: ContinuousClock.Instant
  /// How long the server could have sent something.
  private var elapsed = Duration.zero
  private var isAnswered = false
  /// From the last one that is a whole `stallTimeout` old, in steps.
  private var marks: [Mark] = []

  /// The most that counts between two looks: whoever drives the request looks
  /// several times a second, unless the machine slept or something held it up.
  package static let longestStep = Duration.seconds(5)

  /// Begins to watch a request that is sent now.
  package init(_ rules: Rules, at now: ContinuousClock.Instant) {
    self.rules = rules
    lookedAt = now
  }

  /// The head of the answer is whole.
  ///
  /// - Parameters:
  ///   - heard: Bytes that came so far, headers included.
  ///   - now: The time.
  package mutating func answered(heard: Int, at now: ContinuousClock.Instant) {
    guard !isAnswered else { return }
    advance(to: now, isReading: true)
    isAnswered = true
    marks = [Mark(at: elapsed, heard: heard)]
  }

  /// Looks whether to go on.
  ///
  /// - Parameters:
  ///   - heard: Bytes that came so far, headers included.
  ///   - isReading: Whether the server is read from; false while the disk is
  ///     behind or a limit of ours holds reading up.
  ///   - now: The time.
  /// - Returns: Why to give the request up; nil to go on.
  package mutating func look(heard: Int, isReading: Bool, at now: ContinuousClock.Instant) -> Reason? {
    advance(to: now, isReading: isReading)
    if let limit = rules.wholeTimeout, elapsed >= limit { return .outOfTime }
    guard isAnswered else { return elapsed >= rules.answerTimeout ? .unanswered : nil }
    if let last = marks.last, elapsed - last.at >= rules.stallTimeout / 10 {
      marks.append(Mark(at: elapsed, heard: heard))
    }
    while marks.count > 1, elapsed - marks[1].at >= rules.stallTimeout { marks.removeFirst() }
    guard let oldest = marks.first, elapsed - oldest.at >= rules.stallTimeout else { return nil }
    return heard - oldest.heard < rules.stallByteCount ? .stalled : nil
  }

  private mutating func advance(to now: ContinuousClock.Instant, isReading: Bool) {
    if isReading { elapsed += min(max(.zero, now - lookedAt), Self.longestStep) }
    lookedAt = now
  }
}
