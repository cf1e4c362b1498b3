// Conversions between the types of Fetch and those of Catalog, which do not see each other.

internal import Base
internal import Catalog
internal import Fetch

extension FetchMirror {
  /// The mirror at which the catalog locates a shard.
  ///
  /// - Parameters:
  ///   - location: The shard's location.
  ///   - kept: Query items that its source says are harmless.
  init(_ location: ShardLocation, keeping kept: Set<String> = []) {
    self.init(
      id: location.mirrorID, url: location.url, isOfDocument: location.isOfDocument, keptQuery: kept)
  }
}

extension CommandRunRecord {
  /// A command's run, as the catalog records it.
  init(_ run: CommandRecord) {
    self.init(
      command: run.line, exitStatus: run.exitStatus, signal: run.signal, seconds: run.duration.seconds,
      printed: run.tail, digest: run.output, inputs: run.inputs.map { ($0.path, $0.digest, $0.byteCount) })
  }
}

extension TarnError {
  /// Whether it concerns one shard and its file, so that other shards may still succeed.
  var isOfOneShard: Bool { [.io, .conflict, .usage, .badFeatures].contains(code) }
}

extension TarnError {
  /// The same error, with the source's name in a hint of the fetcher's, which knows none.
  func naming(_ source: String) -> TarnError {
    TarnError(code, message, hint: hint?.naming(source), place: place)
  }
}

extension String {
  /// A hint of the fetcher's with the name of the source that is meant.
  func naming(_ source: String) -> String {
    replacing(FetchConfiguration.wayInside(), with: FetchConfiguration.wayInside(source))
  }
}

extension TransferAttempt.Outcome {
  /// The outcome as the catalog records it.
  var recorded: TransferOutcome {
    switch self {
    case .succeeded: .complete
    case .unchanged: .unchanged
    case .absent: .absent
    case .interrupted, .outgrown: .interrupted
    case .restarted, .refused, .temporary, .integrity, .tls, .diskFull, .io, .usage: .failed
    }
  }

  /// What the outcome says of the mirror: nil where the network, this machine or
  /// the reservation was at fault.
  var seen: LocationState? {
    switch self {
    case .succeeded, .unchanged, .outgrown: .present
    case .absent: .absent
    case .refused, .integrity: .faulty
    // A certificate may be refused because this machine lacks an authority.
    case .interrupted, .restarted, .temporary, .tls, .diskFull, .io, .usage: nil
    }
  }
}

extension ShardRevision {
  /// What tells this revision from others on its server; nil where the server
  /// gave neither an ETag nor a date.
  var validator: EntityValidator? {
    etag == nil && lastModified == nil ? nil : EntityValidator(etag: etag, lastModified: lastModified)
  }
}
