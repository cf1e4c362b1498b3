// The shards of a task on their way to the encoder: fetched a few ahead, into the
// task's scratch directory, which never holds more than those under way and one.
//
// Hosts that fail for now are waited for as long as patience lasts (R21), counted
// for the task as a whole (PatientQueue); room that others took meanwhile is waited for as long as
// shards of this process give some back (SupplyQueue).

internal import Base
internal import Features
package import Fetch
internal import Synchronization

/// How a worker fetches.
package struct SupplyOptions: Sendable {
  package var fetch: FetchConfiguration
  /// How long hosts that fail for now are waited for; zero to give up at once.
  package var patience: Duration
  package var clock: @Sendable () -> ContinuousClock.Instant

  package init(
    fetch: FetchConfiguration, patience: Duration,
    clock: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
  ) {
    self.fetch = fetch
    self.patience = patience
    self.clock = clock
  }
}

extension FetchConfiguration {
  /// Takes one worker's share of what all may do together.
  ///
  /// - Parameters:
  ///   - perHost: Transfers at a time from one host; nil for what is set.
  ///   - limit: Bytes a second; nil for what is set.
  ///   - count: Workers at a time.
  package mutating func share(perHost: Int?, bandwidth limit: RateTimetable?, amongWorkers count: Int) {
    if let perHost { transfersPerHost = max(1, perHost / max(1, count)) }
    if let limit { bandwidth = limit.shared(among: count) }
  }
}

/// Fetches what a task lacks, while its encoder works.
final class InputSupply: Sendable {
  private struct State {
    /// Inputs to ask for, in the order of the task.
    var queue: SupplyQueue
    var arrived: [Int: FetchedShard] = [:]
  }

  private let task: TaskDocument
  private let directory: String
  private let handoff: ShardHandoff
  private let options: SupplyOptions
  private let fetcher: Fetcher
  private let cancellation: Cancellation
  private let roomComesBack: @Sendable () -> Bool
  private let report: @Sendable (WorkerProgress) -> Void
  private let state: Mutex<State>

  /// Prepares to fetch.
  ///
  /// - Parameters:
  ///   - task: The task.
  ///   - wanted: Places of the inputs to fetch among the task's inputs.
  ///   - directory: Where their bytes go; it exists.
  ///   - handoff: Told what arrived and what cannot be had, by those places.
  ///   - options: How to fetch.
  ///   - cancellation: Stops it; what arrived is kept.
  ///   - roomComesBack: Whether something else in this process gives room back when it ends.
  ///   - report: Told of troubles, on the fetcher's thread.
  init(
    _ task: TaskDocument, wanted: [Int], in directory: String, handoff: ShardHandoff, _ options: SupplyOptions,
    cancellation: Cancellation, roomComesBack: @escaping @Sendable () -> Bool,
    report: @escaping @Sendable (WorkerProgress) -> Void
  ) {
    self.task = task
    self.directory = directory
    self.handoff = handoff
    self.options = options
    self.cancellation = cancellation
    self.roomComesBack = roomComesBack
    self.report = report
    var fetch = options.fetch
    fetch.leaveWaits(to: options.patience)
    fetcher = Fetcher(configuration: fetch)
    state = Mutex(State(queue: SupplyQueue(wanted, jobs: fetch.jobs, patience: options.patience)))
  }

  /// Stops fetching, from any thread.
  func cancel() { fetcher.cancel() }

  /// What arrived of an input; its file is this process's to remove.
  func arrived(_ place: Int) -> FetchedShard? { state.withLock { $0.arrived[place] } }

  /// Gives the room of an input back.
  func release(_ place: Int) throws {
    if let shard = state.withLock({ $0.arrived.removeValue(forKey: place) }) { try Disk.remove(shard.path) }
    state.withLock { $0.queue.released() }
    handoff.release(Int64(place))
    fetcher.wake()
  }

  /// Fetches until everything was handed over; failures go to the handoff.
  func run() async {
    let registration = cancellation.whenCancelled { [fetcher] in fetcher.cancel() }
    defer { withExtendedLifetime(registration) {} }
    do {
      try await fetcher.run(pulling: { [self] in next() }, onEvent: { [self] in handle($0) })
      // Whoever still waits would wait for ever; nobody does where all was handed over.
      handoff.fail(TarnError(.temporary, "hosts stayed in trouble for longer than --patience"))
    } catch {
      handoff.fail(cancellation.isCancelled ? TarnError.interrupted : error)
    }
  }

  private func next() -> FetchSupply {
    let (now, comesBack) = (options.clock(), roomComesBack())
    let turn = state.withLock { state in
      // There was room for all when the task began; others write there, too.
      state.queue.next(at: now, comesBack: comesBack) { place, queue in
        lackOfRoom(for: task.inputs[place].shard, taking: missing(place, queue), promised: promised(queue))
      }
    }
    switch turn {
    case .over: return .finished
    case .later: return .notYet
    case .ask(let place): return .request(request(place))
    case .full(let error):
      handoff.fail(error)
      return .finished
    }
  }

  private static func partPath(_ place: Int, in directory: String) -> String { "\(directory)/\(place).part" }

  /// Bytes of an input that are not on the disk, as far as its size is known.
  static func missingByteCount(of task: TaskDocument, _ place: Int, in directory: String) -> Int {
    // D6: what a part file has reserved is not free, whether its bytes came or not.
    max(0, (task.inputs[place].byteCount ?? 0) - Disk.allocatedByteCount(of: partPath(place, in: directory)))
  }

  /// The same, where its first bytes may have told its size.
  private func missing(_ place: Int, _ queue: SupplyQueue) -> Int {
    let missing = Self.missingByteCount(of: task, place, in: directory)
    guard task.inputs[place].byteCount == nil, let learnt = queue.learntByteCount(of: place) else { return missing }
    return max(0, learnt - Disk.allocatedByteCount(of: Self.partPath(place, in: directory)))
  }

  /// Bytes that are still to come of what is under way, but for one input.
  private func promised(_ queue: SupplyQueue, besides place: Int? = nil) -> Int {
    queue.underWay.filter { $0 != place }.map { missing($0, queue) }.saturatedSum
  }

  /// Why something is not to be written; nil where it may be, or where nobody can tell (D11).
  private func lackOfRoom(for what: String, taking byteCount: Int, promised: Int = 0) -> TarnError? {
    guard let fileSystem = try? FileSystem(of: directory),
      case .refused(let error) = DiskReserve().verdict(
        on: what, taking: byteCount, of: fileSystem, promised: promised)
    else { return nil }
    return error
  }

  /// D12: whether there is room for an input whose size its first bytes told; then it counts as promised.
  private func takesRoom(_ place: Int, _ byteCount: Int) -> Bool {
    state.withLock { state in
      state.queue.learnt(place, byteCount: byteCount)
      let promised = promised(state.queue, besides: place)
      return lackOfRoom(for: task.inputs[place].shard, taking: byteCount, promised: promised) == nil
    }
  }

  private func request(_ place: Int) -> FetchRequest {
    let input = task.inputs[place]
    let directory = directory
    var expectation = ShardExpectation(
      byteCount: input.byteCount, digest: input.digest, dimension: task.dimension, elementType: task.elementType,
      format: FeatureFormat(ofFile: input.shard), array: task.array)
    // D12: of a size that nobody knows the first bytes tell, before they are written.
    if input.byteCount == nil { expectation.roomByteCount = 0 }
    var request = FetchRequest(
      id: Int64(place),
      mirrors: input.places.enumerated().map { number, place in
        FetchMirror(id: Int64(number), url: place.url, isOfDocument: place.isOfDocument)
      },
      partPath: Self.partPath(place, in: directory), expectation: expectation,
      finalPath: { _ in "\(directory)/\(place).\(input.shard)" })
    request.takesRoom = { [self] in takesRoom(place, $0) }
    request.lackOfRoom = { [self] in lackOfRoom(for: "the rest of \(input.shard)", taking: 0) }
    return request
  }

  private func handle(_ event: FetchEvent) {
    switch event {
    case .started: break
    case .progress(let id, let byteCount, _): state.withLock { $0.queue.holds(Int(id), byteCount: byteCount) }
    case .attemptEnded(let attempt):
      guard attempt.mayPass else { return }
      state.withLock { $0.queue.failedForNow(Int(attempt.requestID), askingFor: attempt.retryAfter) }
      if let text = attempt.errorText {
        report(.retrying(shard: task.inputs[Int(attempt.requestID)].shard, error: text))
      }
    case .finished(let id, let result): settle(Int(id), result)
    }
  }

  private func settle(_ place: Int, _ result: Result<FetchResult, TarnError>) {
    let failure: TarnError
    var comesBack = false
    switch result {
    case .success(.fetched(let shard)):
      state.withLock { state in
        state.queue.delivered(place)
        state.arrived[place] = shard
      }
      return handoff.markReady(Int64(place))
    case .success(.outgrown(let byteCount)):
      let shard = task.inputs[place].shard
      failure =
        lackOfRoom(for: shard, taking: byteCount)
        ?? TarnError(.diskFull, "there was no room for \(shard)", hint: "run the worker again", place: directory)
      // Its size is known now, so that it is asked for again when there is room.
      comesBack = roomComesBack()
    case .success(.unchanged):
      failure = TarnError(.integrity, "the fetcher answered what was not asked")
    case .failure(let error): failure = error
    }
    if failure.code == .diskFull, state.withLock({ $0.queue.lackedRoom(place, comesBack: comesBack) }) { return }
    let now = options.clock()
    guard let pause = state.withLock({ $0.queue.failed(place, failure, at: now) }) else {
      return handoff.markLost(Int64(place), failure)
    }
    report(.waiting(pause: pause.length, left: pause.left))
  }
}
