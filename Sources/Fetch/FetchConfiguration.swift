// How fetching behaves towards the network and the disk: every number that it
// waits, retries or gives up by, as it ships.

internal import Base
internal import Foundation

/// How the fetcher behaves towards the network and the disk.
package struct FetchConfiguration: Sendable {
  /// Requests under way at a time, `1...64`.
  package var jobs = 4
  /// Transfers at a time from one scheme, host and port.
  package var transfersPerHost = 8
  /// How much all transfers together may take, copies of files of this machine among them.
  package var bandwidth = RateTimetable(bytesPerSecond: nil)
  /// What takes the place of ``bandwidth`` while it is not nil; asked a few
  /// times a second, on the run's thread.
  package var liveBandwidth: @Sendable () -> RateTimetable? = { nil }
  /// What copies of files of this machine are paced by, and how they wait.
  package var copyClock: @Sendable () -> ContinuousClock.Instant = { .now }
  package var copyPause: @Sendable (Duration) -> Void = { Thread.sleep(forTimeInterval: $0.seconds) }
  package var connectTimeout: Duration = .seconds(20)
  /// How long a server may be silent (R14).
  package var watch = RequestWatch.Rules()
  /// How long a probe asks for one place in all, and a host that says nothing.
  package var probeTimeout: Duration = .seconds(60)
  /// A transfer that is much slower than the others from its host is begun
  /// again over another connection.
  package var reroll = Reroll.Rules()
  /// Attempts at one mirror that bring nothing new, before the next mirror.
  package var attemptsPerMirror = 5
  /// Attempts at one request whatever they bring, so that no server can keep it
  /// for ever.
  package var attemptsPerRequest = 1_000
  package var backoff = Backoff()
  /// The longest `Retry-After` that is obeyed.
  package var retryAfterCap: Duration = .seconds(300)
  /// The longest wait that a request sits out; nil for any.
  ///
  /// Where a host asks for more the next mirror is asked, or the request ends.
  package var longestHeldWait: Duration?
  /// Refusals in a row after which a host is left alone for the run.
  package var refusalsPerHost = 3
  /// The seed of the jitter; nil for a different one every time.
  package var jitterSeed: UInt64?
  /// How long a supply that says `.notYet` is left alone.
  package var supplyInterval: Duration = .seconds(1)
  package var progressInterval: Duration = .milliseconds(250)
  /// Objects larger than this are sent to a store in parts of this size, or larger ones
  /// where they would be too many; stores refuse smaller ones than 5 MiB.
  package var storePartByteCount = 64 << 20
  /// Bytes between two durable resume points.
  package var checkpointByteCount = 64 << 20
  /// Headers for one origin (`https://host:port`), credentials among them; they
  /// are never sent to another origin.
  package var headers: @Sendable (_ origin: String) -> [String] = { _ in [] }
  /// What authorises requests to a host by the user's netrc file; nil for nothing.
  ///
  /// Which addresses get it is ``login(for:)``'s to say.
  package var logins: @Sendable (_ host: String) -> String? = { _ in nil }
  /// Why that file does not count; nil where it does, or there is none.
  package var loginFault: String?
  /// Where `s3://` addresses lead, and who asks there.
  package var s3 = S3Settings(environment: [:], readFile: { _ in nil })
  /// The Hub that `hf://` means, without a slash at its end.
  package var hub = HubDirectory.defaultHub
  /// What the environment says of a variable, for addresses with `{env:NAME}`.
  package var variable: @Sendable (String) -> String? = { _ in nil }
  /// S8: how commands are run; nil where they are not allowed.
  package var commands: CommandRules?
  /// What a command has for an environment.
  package var commandEnvironment: [String: String] = [:]
  /// S6: where an IP address lies; nil for a text that is none.
  package var addressScope: @Sendable (String) -> AddressScope? = { AddressScope(of: $0) }
  /// A proxy's address; nil for what the environment says, "" for none.
  package var proxy: String?
  /// A file of certificates to trust instead of the system's.
  package var certificateAuthorityPath: String?
  package var userAgent = "tarn"

  package init() {}

  /// The randomness of backoffs and choices of mirror.
  func jitter() -> SplitMix64 { SplitMix64(seed: jitterSeed ?? .random(in: .min ... .max)) }

  /// The timetable in force.
  func bandwidthNow() -> RateTimetable { liveBandwidth() ?? bandwidth }

  /// The bandwidth as one number of bytes per second; nil for no limit now.
  package var bytesPerSecondLimit: Int? {
    get { bandwidth.limit(at: Date()) }
    set { bandwidth = RateTimetable(bytesPerSecond: newValue) }
  }
}
