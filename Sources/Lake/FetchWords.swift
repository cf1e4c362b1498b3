// What fetching and the catalog say to each other, each in its own words.

internal import Base
internal import Catalog
internal import Fetch

extension FetchMirror {
  /// A place of a shard.
  ///
  /// - Parameters:
  ///   - location: The place.
  ///   - kept: Query items that its source says are harmless.
  init(_ location: ShardLocation, keeping kept: Set<String> = []) {
    self.init(
      id: location.mirrorID, url: location.url, isOfDocument: location.isOfDocument, keptQuery: kept)
  }
}

extension CommandRunRecord {
  /// A run as the catalog keeps it.
  init(_ run: CommandRecord) {
    self.init(
      command: run.line, exitStatus: run.exitStatus, signal: run.signal, seconds: run.duration.seconds,
      printed: run.tail, digest: run.output, inputs: run.inputs.map { ($0.path, $0.digest, $0.byteCount) })
  }
}

extension TarnError {
  /// Whether it is about one shard and its file, so that others may do.
  var isOfOneShard: Bool { [.io, .conflict, .usage, .badFeatures].contains(code) }
}

extension TransferAttempt.Outcome {
  /// The outcome as the catalog keeps it.
  var recorded: TransferOutcome {
    switch self {
    case .succeeded: .complete
    case .unchanged: .unchanged
    case .absent: .absent
    case .interrupted, .outgrown: .interrupted
    case .restarted, .refused, .temporary, .integrity, .tls, .diskFull, .io, .usage: .failed
    }
  }

  /// What it says of the mirror: nothing, when the network, this machine or
  /// the reservation was at fault.
  var seen: LocationState? {
    switch self {
    case .succeeded, .unchanged, .outgrown: .present
    case .absent: .absent
    case .refused, .integrity: .faulty
    // Of certificates this machine may be the one that lacks some.
    case .interrupted, .restarted, .temporary, .tls, .diskFull, .io, .usage: nil
    }
  }
}

extension ShardRevision {
  /// What tells this revision from others on its server; nil without a word
  /// from it.
  var validator: EntityValidator? {
    etag == nil && lastModified == nil ? nil : EntityValidator(etag: etag, lastModified: lastModified)
  }
}
