// The shards of a task on their way to the encoder: fetched a few ahead, into the
// task's scratch directory, which never holds more than those under way and one.
//
// Hosts that fail for now are waited for as long as patience lasts (R21), counted
// for the task as a whole (PatientQueue).

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
    var queue: PatientQueue
    var arrived: [Int: FetchedShard] = [:]
    /// Inputs under way or on the disk.
    var held = 0
    /// Inputs under way.
    var underWay: Set<Int> = []
  }

  private let task: TaskDocument
  private let directory: String
  private let handoff: ShardHandoff
  private let options: SupplyOptions
  private let fetcher: Fetcher
  private let cancellation: Cancellation
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
  ///   - report: Told of troubles, on the fetcher's thread.
  init(
    _ task: TaskDocument, wanted: [Int], in directory: String, handoff: ShardHandoff, _ options: SupplyOptions,
    cancellation: Cancellation, report: @escaping @Sendable (WorkerProgress) -> Void
  ) {
    self.task = task
    self.directory = directory
    self.handoff = handoff
    self.options = options
    self.cancellation = cancellation
    self.report = report
    var fetch = options.fetch
    fetch.leaveWaits(to: options.patience)
    fetcher = Fetcher(configuration: fetch)
    state = Mutex(State(queue: PatientQueue(wanted, patience: options.patience)))
  }

  /// Stops fetching, from any thread.
  func cancel() { fetcher.cancel() }

  /// What arrived of an input; its file is this process's to remove.
  func arrived(_ place: Int) -> FetchedShard? { state.withLock { $0.arrived[place] } }

  /// Gives the room of an input back.
  func release(_ place: Int) throws {
    let shard = state.withLock { state in
      state.held -= 1
      return state.arrived.removeValue(forKey: place)
    }
    if let shard { try Disk.remove(shard.path) }
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
    let now = options.clock()
    return state.withLock { state in
      // One more than is fetched at a time is on the disk: the one that is encoded.
      guard state.held <= options.fetch.jobs else { return .notYet }
      switch state.queue.next(at: now) {
      case .over: return .finished
      case .later: return .notYet
      case .ask(let place):
        // There was room for all when the task began; others write there, too.
        if let lack = lackOfRoom(for: task.inputs[place].shard, taking: missing(place), besides: state.underWay) {
          handoff.fail(lack)
          return .finished
        }
        state.held += 1
        state.underWay.insert(place)
        return .request(request(place))
      }
    }
  }

  private static func partPath(_ place: Int, in directory: String) -> String { "\(directory)/\(place).part" }

  /// Bytes of an input that are not on the disk, as far as its size is known.
  static func missingByteCount(of task: TaskDocument, _ place: Int, in directory: String) -> Int {
    // D6: what a part file has reserved is not free, whether its bytes came or not.
    max(0, (task.inputs[place].byteCount ?? 0) - Disk.allocatedByteCount(of: partPath(place, in: directory)))
  }

  private func missing(_ place: Int) -> Int { Self.missingByteCount(of: task, place, in: directory) }

  /// Why something is not to be written; nil where it may be, or where nobody can tell (D11).
  private func lackOfRoom(for what: String, taking byteCount: Int, besides underWay: Set<Int> = []) -> TarnError? {
    guard let fileSystem = try? FileSystem(of: directory),
      case .refused(let error) = DiskReserve().verdict(
        on: what, taking: byteCount, of: fileSystem, promised: underWay.map(missing).saturatedSum)
    else { return nil }
    return error
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
    request.takesRoom = { [self] in lackOfRoom(for: input.shard, taking: $0) == nil }
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
    state.withLock { _ = $0.underWay.remove(place) }
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
    case .success(.unchanged):
      failure = TarnError(.integrity, "the fetcher answered what was not asked")
    case .failure(let error): failure = error
    }
    let now = options.clock()
    let pause = state.withLock { state in
      state.held -= 1
      return state.queue.failed(place, failure, at: now)
    }
    guard let pause else { return handoff.markLost(Int64(place), failure) }
    report(.waiting(pause: pause.length, left: pause.left))
  }
}
