// An encoder that is a program: started once, asked line by line, started again when it
// ends. One thread has it; any number of threads wait for its answers.

package import Base
internal import Foundation
internal import Glibc
internal import Synchronization

/// A program that encodes.
package final class CommandEncoder: FeatureEncoder {
  private let queue: EncoderQueue

  /// Prepares an encoder; it is started when it is first asked.
  ///
  /// - Parameters:
  ///   - command: The program and its arguments.
  ///   - rules: How it is held to its word.
  ///   - environment: Its environment.
  /// - Throws: ``TarnError`` `.usage` for a command that is none.
  package init(_ command: String, rules: EncoderRules, environment: [String: String]) throws(TarnError) {
    let words: [String]
    do throws(QuotedWords.Fault) {
      words = try QuotedWords.split(command)
    } catch {
      let cause = error == .backslash ? "ends with a backslash" : "leaves a quotation mark open"
      throw TarnError(.usage, "the command '\(command.printable)' \(cause)")
    }
    guard let program = words.first, !program.isEmpty else {
      throw TarnError(
        .usage, "the encoder names no program", hint: "--encoder 'PROGRAM ARGUMENTS' or --encoder https://…")
    }
    guard !command.unicodeScalars.contains("\0") else {
      throw TarnError(.usage, "the encoder's command has a character that no argument can have")
    }
    queue = EncoderQueue(words, name: command.printable(atMost: 120), rules: rules, environment: environment)
  }

  deinit { queue.close(atOnce: false) }

  package func encode(
    _ queries: [EncoderQuery], cancellation: Cancellation
  ) throws(TarnError) -> [Result<[Float], TarnError>] {
    let batch = EncoderBatch(count: queries.count)
    let registration = cancellation.whenCancelled { batch.wake() }
    defer { withExtendedLifetime(registration) {} }
    do {
      try queue.ask(queries, for: batch)
    } catch {
      batch.fill(with: error)
    }
    return try batch.wait(cancellation)
  }

  package func close(atOnce: Bool) {
    queue.close(atOnce: atOnce)
    queue.waitForEnd()
  }
}

/// Answers that one caller waits for.
private final class EncoderBatch: Sendable {
  private struct State {
    var results: [Result<[Float], TarnError>?]
    var left: Int
  }

  private let state: Mutex<State>
  private let change = DispatchSemaphore(value: 0)

  init(count: Int) { state = Mutex(State(results: Array(repeating: nil, count: count), left: count)) }

  func wake() { change.signal() }

  func set(_ place: Int, _ result: Result<[Float], TarnError>) {
    let isDone = state.withLock { state in
      guard state.results[place] == nil else { return false }
      state.results[place] = result
      state.left -= 1
      return state.left == 0
    }
    if isDone { change.signal() }
  }

  func fill(with error: TarnError) {
    for place in state.withLock({ $0.results.indices }) { set(place, .failure(error)) }
  }

  func wait(_ cancellation: Cancellation) throws(TarnError) -> [Result<[Float], TarnError>] {
    while true {
      try cancellation.check()
      let done: [Result<[Float], TarnError>]? = state.withLock { $0.left == 0 ? $0.results.compactMap(\.self) : nil }
      if let done { return done }
      change.wait()
    }
  }
}

/// The queries that wait for the encoder's program, and the one thread that talks to it.
private final class EncoderQueue: Sendable {
  private struct State {
    var arrived: [(id: Int64, line: [UInt8])] = []
    var waiters: [Int64: (batch: EncoderBatch, place: Int)] = [:]
    var nextID: Int64 = 0
    var isClosed = false
    var isHurried = false
    /// The descriptor that wakes the thread while it runs.
    var bell: Int32?
    var thread: ThreadedWork<Void>?
  }

  private let words: [String]
  private let name: String
  private let rules: EncoderRules
  private let environment: [String: String]
  private let state = Mutex(State())

  init(_ words: [String], name: String, rules: EncoderRules, environment: [String: String]) {
    (self.words, self.name, self.rules, self.environment) = (words, name, rules, environment)
  }

  func ask(_ queries: [EncoderQuery], for batch: EncoderBatch) throws(TarnError) {
    let result: Result<Void, TarnError> = state.withLock { state in
      guard !state.isClosed else { return .failure(TarnError(.refused, "the encoder was closed")) }
      if state.thread == nil {
        let pipe: ChildPipe
        do throws(TarnError) { pipe = try ChildPipe(isWritten: false) } catch { return .failure(error) }
        let (ear, bell) = (pipe.ours, pipe.its)
        _ = fcntl(bell, F_SETFL, O_NONBLOCK)
        let thread = ThreadedWork("tarn-encoder") { [self] in run(ear: ear) }
        do {
          try thread.requireNoFailure()
        } catch {
          // No thread now; the next one who asks may get one.
          for end in [ear, bell] { Glibc.close(end) }
          return .failure(error as? TarnError ?? TarnError(.io, "\(error)"))
        }
        state.bell = bell
        state.thread = thread
      }
      for (place, query) in queries.enumerated() {
        let id = state.nextID
        state.nextID += 1
        state.arrived.append((id, Self.line(id, query)))
        state.waiters[id] = (batch, place)
      }
      Self.ring(state)
      return .success(())
    }
    try result.get()
  }

  private static func line(_ id: Int64, _ query: EncoderQuery) -> [UInt8] {
    let (member, text) =
      switch query {
      case .text(let text): ("text", text)
      case .image(let path): ("image", path)
      }
    return Array((JSONValue.object(["id": .integer(id), member: .string(text)]).text + "\n").utf8)
  }

  /// Under the lock, so that the descriptor is still ours.
  private static func ring(_ state: State) {
    if let bell = state.bell { _ = unsafe write(bell, [UInt8(1)], 1) }
  }

  func close(atOnce: Bool) {
    state.withLock { state in
      state.isClosed = true
      state.isHurried = state.isHurried || atOnce
      Self.ring(state)
    }
  }

  func waitForEnd() { _ = try? state.withLock { $0.thread }?.wait() }

  // MARK: The thread

  private func run(ear: Int32) {
    // A program that closed its input is an error of write, and no signal.
    var pipe = sigset_t()
    unsafe sigemptyset(&pipe)
    unsafe sigaddset(&pipe, SIGPIPE)
    _ = unsafe pthread_sigmask(SIG_BLOCK, &pipe, nil)
    var course = EncoderCourse(rules)
    var child: EncoderProcess?
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    var isDeaf = false
    while takeArrived(into: &course) {
      if child != nil { observe(&child, &course, &piece, isDeaf: isDeaf) }
      isDeaf = false
      answer(&course, child)
      let step = course.step(at: .now)
      answer(&course, child)
      switch step {
      case .start: child = start(&course)
      case .kill:
        // What a signal of ours does not reach may end with its input.
        child?.closeInput()
        child?.signal(SIGKILL)
        usleep(2_000)
      case .wait(let wait):
        // A program may end while another holds its streams: looked at now and then.
        let milliseconds = wait.map { Int32(max(1, min($0, .milliseconds(200)) / .milliseconds(1))) } ?? -1
        if let child {
          isDeaf = child.wait(besides: ear, isWriting: !course.toWrite.isEmpty, atMost: milliseconds)
        } else {
          var waiting = pollfd(fd: ear, events: Int16(POLLIN), revents: 0)
          _ = unsafe poll(&waiting, 1, milliseconds)
        }
        while unsafe read(ear, &piece, piece.count) > 0 {}
      }
    }
    if child != nil { end(&child) }
    leave(ear)
  }

  /// Takes what callers left; false when there will be nothing more.
  private func takeArrived(into course: inout EncoderCourse) -> Bool {
    let (arrived, isClosed) = state.withLock { state in
      defer { state.arrived = [] }
      return (state.arrived, state.isClosed)
    }
    guard !isClosed else { return false }
    for (id, line) in arrived { course.ask(id, line) }
    return true
  }

  private func start(_ course: inout EncoderCourse) -> EncoderProcess? {
    do throws(TarnError) {
      let child = try EncoderProcess(words, environment: environment)
      course.started(at: .now)
      return child
    } catch {
      course.couldNotStart(error, at: .now)
      answer(&course, nil)
      return nil
    }
  }

  /// Writes what is to be written, reads what is there, and sees whether it ended.
  private func observe(
    _ child: inout EncoderProcess?, _ course: inout EncoderCourse, _ piece: inout [UInt8], isDeaf: Bool
  ) {
    guard var process = child else { return }
    var end = process.look()
    process.drainErrors()
    // What it wrote before it ended counts, up to a bound for what writes without end.
    for _ in 0..<256 {
      guard let count = process.read(into: &piece) else {
        // Who ends closes its streams first: a moment later it can be said how.
        for _ in 0..<25 where end == nil {
          usleep(2_000)
          end = process.look()
        }
        process.drainErrors()
        if end == nil { course.closed(at: .now) }
        break
      }
      if count == 0 { break }
      course.received(piece[..<count], at: .now)
    }
    if let end {
      // With what it has written, not with what is handed out meanwhile.
      course.ended(end, at: .now)
      answer(&course, process)
      process.bury()
      child = nil
      return
    }
    if isDeaf {
      course.closed(at: .now)
    } else if !course.toWrite.isEmpty {
      if let count = process.write(course.toWrite) { course.wrote(count) } else { course.closed(at: .now) }
    }
    child = process
  }

  private func answer(_ course: inout EncoderCourse, _ child: EncoderProcess?) {
    for (id, result) in course.takeAnswers() {
      guard let waiter = state.withLock({ $0.waiters.removeValue(forKey: id) }) else { continue }
      waiter.batch.set(waiter.place, result.mapError { error($0, child?.lastLine) })
    }
  }

  private func error(_ fault: EncoderFault, _ said: String?) -> TarnError {
    let saying = said.map { ", saying '\($0)'" } ?? ""
    let hint = "run it by hand to see why: echo '{\"text\": \"a cat\"}' | \(name)"
    switch fault {
    case .notStarted(let error): return error.about("the encoder")
    case .timedOut:
      return TarnError(
        .refused, "the encoder gave no answer within \(TimeSpan.text(seconds: rules.timeout.seconds))\(saying)",
        hint: "give it longer with --encoder-timeout, and see that it writes each answer out at once (flush)")
    case .ended(nil):
      return TarnError(.refused, "the encoder closed its streams before it answered\(saying)", hint: hint)
    case .ended(let end?) where end >= 256:
      return TarnError(.refused, "the encoder was ended by signal \(end - 256) before it answered\(saying)", hint: hint)
    case .ended(let end?):
      return TarnError(
        .refused, "the encoder ended with exit status \(end) before it answered\(saying)", hint: hint)
    case .garbage(let line):
      return TarnError(
        .refused, "the encoder wrote '\(line)', which is no answer\(saying)",
        hint: "it has to write one line for each query, {\"embedding\": […]} or {\"error\": \"…\"}, and nothing else")
    case .unasked, .outOfStep:
      return TarnError(
        .refused, "the encoder gave an answer that is not the query's whose turn it was\(saying)",
        hint: "it has to write one line for each query, in their order")
    case .longLine:
      return TarnError(
        .refused, "the encoder wrote a line of more than \(ByteSize.text(rules.mostLineByteCount))\(saying)")
    case .said(let words): return .saidByEncoder(words)
    case .unkillable:
      return TarnError(
        .temporary, "the encoder was killed and has not ended\(saying)",
        hint: "see why by ps; no other is started before it has")
    case .busy:
      return TarnError(.temporary, "\(rules.mostWaiting) queries wait for the encoder already", hint: "ask again later")
    }
  }

  /// Lets a program end, then has it end.
  private func end(_ child: inout EncoderProcess?) {
    guard var process = child else { return }
    process.closeInput()
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    var limits = [(rules.patienceWithEnd, SIGTERM), (rules.patienceWithSignal, SIGKILL)][...]
    var deadline = ContinuousClock.now
    if state.withLock({ $0.isHurried }) { limits = [(.zero, SIGKILL)] } else { deadline += rules.patienceWithEnd }
    // The kernel may hold even what was killed: then it is left to it.
    let latest = deadline + rules.patienceWithSignal + .seconds(1)
    while process.look() == nil, .now < latest {
      if .now >= deadline, let limit = limits.popFirst() {
        process.signal(limit.1)
        deadline = .now + (limits.first?.0 ?? .seconds(1))
      }
      process.drainErrors()
      while let count = process.read(into: &piece), count > 0 {}
      usleep(5_000)
    }
    if process.look() != nil { process.bury() } else { process.closeAll() }
    child = nil
  }

  private func leave(_ ear: Int32) {
    let waiters = state.withLock { state in
      defer { state.waiters = [:] }
      if let bell = state.bell { Glibc.close(bell) }
      state.bell = nil
      return state.waiters
    }
    Glibc.close(ear)
    for waiter in waiters.values {
      waiter.batch.set(waiter.place, .failure(TarnError(.refused, "the encoder was closed")))
    }
  }
}
