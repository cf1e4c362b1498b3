// Files of a publication on their way: a few at a time from its one place, which is waited
// for while it fails for now (R21).

internal import Base
internal import Catalog
internal import Fetch
internal import Synchronization

/// How far a pull is.
package enum PullProgress: Sendable {
  /// Bytes that are here of those that were missing.
  case moved(Int, of: Int)
  /// Outputs that were read of all.
  case reading(Int, of: Int)
  /// A host that failed for now is waited for; told once until it answers.
  case waiting(host: String, pause: Duration, left: Duration)
}

/// Files of a publication on their way.
struct PublicationFetch: Sendable {
  /// A file that is wanted, and where it goes.
  struct Wanted: Sendable {
    let file: Publication.File
    let partPath: String
    let finalPath: String
  }

  private struct State {
    var queue: PatientQueue
    /// Bytes that are here, by file.
    var held: [Int: Int] = [:]
    /// What ended it.
    var failure: (any Error)?
  }

  let publication: Publication
  let options: SyncOptions
  let cancellation: Cancellation
  let report: @Sendable (PullProgress) -> Void

  /// Fetches files, each under its final name once it is what it should be.
  ///
  /// - Parameters:
  ///   - wanted: The files.
  ///   - lackOfRoom: Asked now and then while bytes are written (D12).
  ///   - onArrival: Called for each file that is durable.
  /// - Throws: ``TarnError`` of the first file that could not be had; what came is kept.
  func run(
    _ wanted: [Wanted], lackOfRoom: @escaping @Sendable () -> TarnError?,
    onArrival: @escaping @Sendable (Publication.File) throws -> Void
  ) async throws {
    let total = wanted.reduce(0) { $0 + $1.file.byteCount }
    let state = Mutex(State(queue: PatientQueue(wanted.indices, patience: options.patience)))
    var configuration = options.fetch
    configuration.leaveWaits(to: options.patience)
    // There is one place: what an attempt does not bring is a matter of patience.
    if options.patience > .zero { configuration.attemptsPerMirror = 1 }
    let fetcher = Fetcher(configuration: configuration)
    let registration = cancellation.whenCancelled { fetcher.cancel() }
    defer { withExtendedLifetime(registration) {} }
    @Sendable func end(_ error: any Error) {
      state.withLock { $0.failure = $0.failure ?? error }
      fetcher.cancel()
    }
    do {
      try await fetcher.run(
        pulling: {
          switch state.withLock({ $0.queue.next(at: options.clock()) }) {
          case .over: .finished
          case .later: .notYet
          case .ask(let number): .request(request(number, wanted[number], lackOfRoom))
          }
        },
        onEvent: { event in
          switch event {
          case .started: break
          case .progress(let id, let byteCount, _):
            let held = state.withLock { state in
              state.queue.holds(Int(id), byteCount: byteCount)
              state.held[Int(id)] = byteCount
              return state.held.values.reduce(0, +)
            }
            report(.moved(held, of: total))
          case .attemptEnded(let attempt):
            guard attempt.mayPass else { return }
            state.withLock { $0.queue.failedForNow(Int(attempt.requestID), askingFor: attempt.retryAfter) }
          case .finished(let id, .success):
            state.withLock { $0.queue.delivered(Int(id)) }
            do {
              try onArrival(wanted[Int(id)].file)
            } catch {
              end(error)
            }
          case .finished(let id, .failure(let error)):
            let pause = state.withLock { $0.queue.failed(Int(id), error, at: options.clock()) }
            guard let pause else { return end(error) }
            if pause.isFirst {
              report(.waiting(host: host(of: wanted[Int(id)].file), pause: pause.length, left: pause.left))
            }
          }
        })
    } catch {
      // What stopped it, not that it was stopped.
      throw state.withLock { $0.failure } ?? (error is CancellationError ? TarnError.interrupted : error)
    }
    if let failure = state.withLock({ $0.failure }) { throw failure }
  }

  private func mirror(_ file: Publication.File) -> FetchMirror {
    FetchMirror(id: 0, url: publication.address + file.name)
  }

  private func host(of file: Publication.File) -> String { options.fetch.origin(of: mirror(file)) ?? publication.place }

  private func request(
    _ number: Int, _ item: Wanted, _ lackOfRoom: @escaping @Sendable () -> TarnError?
  ) -> FetchRequest {
    var request = FetchRequest(
      id: Int64(number), mirrors: [mirror(item.file)], partPath: item.partPath,
      expectation: ShardExpectation(ofBytes: item.file.byteCount, digest: item.file.digest),
      finalPath: { _ in item.finalPath })
    request.subject = .publication
    request.lackOfRoom = lackOfRoom
    return request
  }
}
