// A program that is run to its end, within what whoever runs it allows.

internal import Glibc

/// A program to be run to its end, on the thread that asks for it.
///
/// It runs, is killed, and has ended: it is killed with all of its group once it took too long, nobody wants it any
/// more, or enough was heard of it, and from then on nothing of it is heard.
///
/// Invariants:
/// 1. When `run` returns, the program has ended, and so has what it began in its group, unless it was left alone.
/// 2. What it writes is read as it comes, both streams at once, so that it never waits for us; all that it wrote before it
///    ended is heard.
/// 3. Nobody waits for who else holds its streams once it has ended.
package struct ChildRun: Sendable {
  /// What a program writes to.
  package enum Stream: Sendable, CaseIterable { case output, errors }

  /// Why a program was killed.
  package enum Cause: Sendable, Equatable {
    case overdue
    /// Nobody wants it any more.
    case stopped
    /// Who heard it has heard enough.
    case enough
  }

  /// How a program ended.
  package struct Outcome: Sendable {
    /// 0 to 255, or 256 and a signal's number.
    package let end: Int32
    /// Why it was killed; of one that ended meanwhile, why it was about to be.
    package let cause: Cause?

    /// The signal that ended it.
    package var signal: Int32? { end >= 256 ? end - 256 : nil }
  }

  /// The longest time between two looks.
  private static let longestPause: Int32 = 100

  private let words: [String]
  private let environment: [String: String]?
  private let input: [UInt8]
  private let heard: Set<Stream>
  private let time: Duration?
  private let isLeftAlone: Bool

  /// Prepares to run a program.
  ///
  /// - Parameters:
  ///   - words: The program, looked for in PATH, and its arguments.
  ///   - environment: Its environment; nil for ours, byte for byte.
  ///   - input: Its standard input. With any, SIGPIPE must be ignored or blocked.
  ///   - heard: What is heard of it; the rest goes to `/dev/null`.
  ///   - time: How long it may run; nil for any time.
  ///   - isLeftAlone: Whether it goes on when tarn ends, and what it began in its group when it ends.
  package init(
    _ words: [String], environment: [String: String]? = nil, input: [UInt8] = [], heard: Set<Stream>,
    time: Duration? = nil, isLeftAlone: Bool = false
  ) {
    (self.words, self.environment, self.input) = (words, environment, input)
    (self.heard, self.time, self.isLeftAlone) = (heard, time, isLeftAlone)
  }

  /// Runs it.
  ///
  /// - Parameters:
  ///   - code: The code of the error that there is no such program.
  ///   - isStopped: Whether nobody wants it any more; asked ten times a second.
  ///   - hear: Gets what it writes, piece by piece; false once that is enough.
  /// - Returns: How it ended.
  /// - Throws: ``TarnError`` of that code, `.io`, when it cannot be started.
  package func run(
    refusal code: TarnError.Code, isStopped: () -> Bool = { false }, hear: (Stream, ArraySlice<UInt8>) -> Bool
  ) throws(TarnError) -> Outcome {
    let (child, ends) = try start(refusal: code)
    var pipes = ends
    defer { pipes.close() }
    let began = ContinuousClock.now
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    var left = input[...]
    var cause: Cause?
    var pause: Int32 = 2
    while true {
      // Before it is heard: what it wrote until then is there.
      let end = child.look()
      for stream in Stream.allCases {
        pipes.drain(stream, &piece) { bytes in
          if cause == nil, !hear(stream, bytes) { cause = .enough }
        }
      }
      if let end {
        if isLeftAlone { child.reap() } else { child.bury() }
        return Outcome(end: end, cause: cause)
      }
      if cause == nil, let time, ContinuousClock.now - began > time { cause = .overdue }
      if cause == nil, isStopped() { cause = .stopped }
      if cause != nil { child.signal(SIGKILL) }
      pipes.feed(&left)
      // Who closed its streams mostly ends, which takes it a moment.
      pipes.wait(isFeeding: !left.isEmpty, atMost: pipes.isHeard ? Self.longestPause : pause)
      if !pipes.isHeard { pause = min(pause * 2, Self.longestPause) }
    }
  }

  private func start(refusal code: TarnError.Code) throws(TarnError) -> (child: ChildProcess, pipes: Pipes) {
    var (made, its): ([ChildPipe], [Int32]) = ([], [-1, -1, -1])
    var pipes = Pipes()
    defer { for pipe in made { Glibc.close(pipe.its) } }
    do throws(TarnError) {
      if !input.isEmpty {
        let pipe = try ChildPipe(isWritten: true)
        made.append(pipe)
        (pipes.input, its[0]) = (pipe.ours, pipe.its)
      }
      if heard.contains(.output) {
        let pipe = try ChildPipe(isWritten: false)
        made.append(pipe)
        (pipes.output, its[1]) = (pipe.ours, pipe.its)
      }
      if heard.contains(.errors) {
        let pipe = try ChildPipe(isWritten: false)
        made.append(pipe)
        (pipes.errors, its[2]) = (pipe.ours, pipe.its)
      }
      let child = try ChildProcess(
        words, environment: environment, streams: its, outlivesThread: isLeftAlone, refusal: code)
      return (child, pipes)
    } catch {
      pipes.close()
      throw error
    }
  }

  /// Our ends, which never wait; -1 where there is none, or none any more.
  private struct Pipes {
    var input: Int32 = -1
    var output: Int32 = -1
    var errors: Int32 = -1

    /// Whether it may still write something.
    var isHeard: Bool { output >= 0 || errors >= 0 }

    /// Reads what is there.
    mutating func drain(_ stream: Stream, _ piece: inout [UInt8], _ hear: (ArraySlice<UInt8>) -> Void) {
      let descriptor = stream == .output ? output : errors
      guard descriptor >= 0 else { return }
      // So that a program that writes without end is looked at now and then; all that a pipe holds is less.
      for _ in 0..<64 {
        let count = read(descriptor, &piece, piece.count)
        if count > 0 {
          hear(piece[..<count])
        } else if count < 0, errno == EINTR {
          continue
        } else {
          if count == 0 || errno != EAGAIN { end(stream) }
          return
        }
      }
    }

    private mutating func end(_ stream: Stream) {
      switch stream {
      case .output: Self.close(&output)
      case .errors: Self.close(&errors)
      }
    }

    /// Writes as much as it takes of what is left, and closes its input where nothing is, or nobody reads it.
    mutating func feed(_ left: inout ArraySlice<UInt8>) {
      guard input >= 0 else { return }
      let count = left.withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
      if count >= 0 {
        left = left.dropFirst(count)
      } else if errno != EAGAIN, errno != EINTR {
        left = []
      }
      if left.isEmpty { Self.close(&input) }
    }

    /// Waits until something can be read or written.
    func wait(isFeeding: Bool, atMost milliseconds: Int32) {
      // A negative descriptor is passed over.
      var waiting = [
        pollfd(fd: output, events: Int16(POLLIN), revents: 0), pollfd(fd: errors, events: Int16(POLLIN), revents: 0),
        pollfd(fd: isFeeding ? input : -1, events: Int16(POLLOUT), revents: 0),
      ]
      _ = poll(&waiting, nfds_t(waiting.count), milliseconds)
    }

    mutating func close() {
      Self.close(&input)
      Self.close(&output)
      Self.close(&errors)
    }

    private static func close(_ descriptor: inout Int32) {
      if descriptor >= 0 { Glibc.close(descriptor) }
      descriptor = -1
    }
  }
}
