// The way to a loop's thread from any other: to wake it and to stop it.

internal import CCurl
internal import Synchronization

/// What other threads say to a loop around a multi handle.
final class LoopControl: Sendable {
  private struct State {
    var isCancelled = false
    var isWoken = false
    /// The multi handle's address while the loop runs, for the wake-up alone.
    var multi: UInt?
  }

  private let state = Mutex(State())

  /// Makes the loop's multi handle known, or forgets it.
  func attach(_ multi: UnsafeMutableRawPointer?) {
    let address = unsafe multi.map { UInt(bitPattern: $0) }
    state.withLock { $0.multi = address }
  }

  func wake() {
    state.withLock {
      $0.isWoken = true
      Self.wake($0)
    }
  }

  /// Ends the loop's poll, with nothing to say but that time matters now.
  func poke() { state.withLock { Self.wake($0) } }

  /// Whether ``wake()`` was called since the last time.
  func takeWake() -> Bool {
    state.withLock { state in
      defer { state.isWoken = false }
      return state.isWoken
    }
  }

  func cancel() {
    state.withLock {
      $0.isCancelled = true
      Self.wake($0)
    }
  }

  var isCancelled: Bool { state.withLock { $0.isCancelled } }

  /// Ends the loop's poll.
  ///
  /// Called under the lock, so that the handle still lives.
  private static func wake(_ state: State) {
    // > this function may be called from any thread
    // https://curl.se/libcurl/c/curl_multi_wakeup.html
    guard let address = state.multi, let multi = unsafe UnsafeMutableRawPointer(bitPattern: address) else { return }
    _ = unsafe curl_multi_wakeup(multi)
  }
}
