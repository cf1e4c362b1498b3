// The states of each entity and the moves between them: pure, without SQLite.
// The schema's CHECKs name the same states; `LakeCatalog` asks here before it
// writes a new one.

/// A state with a closed list of successors.
package protocol EntityState: RawRepresentable, CaseIterable, Hashable, Sendable where RawValue == String {
  /// The states that may follow this one; staying is always legal.
  var successors: Set<Self> { get }
}

extension EntityState {
  /// Whether an entity in this state may go to `next`.
  package func canBecome(_ next: Self) -> Bool { next == self || successors.contains(next) }
}

/// The state of a shard's bytes in this lake.
///
/// ```
/// registered ──► fetching ──► present ──► evicting ──► evicted
///     ▲              │  ▲        │                        │
///     └─interrupted──┤  └────────┼────────────────────────┘
///                    ├──► absent │  (every mirror says 404 or 410)
///                    └──► failed │  (no mirror gave good bytes)
/// ```
/// An interrupted fetch goes back to what the shard was before: `evicted` when
/// it has a revision, else `registered`. A refresh of a present shard leaves it
/// `present` throughout.
package enum ShardState: String, EntityState {
  case registered, fetching, present, evicting, evicted, absent, failed

  package var successors: Set<ShardState> {
    switch self {
    case .registered, .evicted, .absent, .failed: [.fetching, .present]
    case .fetching: [.present, .registered, .evicted, .absent, .failed]
    case .present: [.evicting]
    case .evicting: [.evicted]
    }
  }
}

/// What a mirror was last seen to have of one shard.
package enum LocationState: String, EntityState {
  case unknown, present, absent, faulty

  package var successors: Set<LocationState> { Set(LocationState.allCases) }
}

/// How one transfer ended.
package enum TransferOutcome: String, Sendable, CaseIterable {
  case complete, unchanged, absent, failed, interrupted
}

/// The state of stored bytes.
///
/// The row is never deleted.
package enum StoredState: String, EntityState {
  case present, deleting, deleted

  package var successors: Set<StoredState> {
    switch self {
    case .present: [.deleting]
    case .deleting: [.deleted, .present]
    case .deleted: [.present]
    }
  }
}

/// The state of a trained index; `ready` is final.
package enum TrainedIndexState: String, EntityState {
  case training, ready

  package var successors: Set<TrainedIndexState> { self == .training ? [.ready] : [] }
}

/// The state of an index version.
///
/// `planned` fixes the inputs, `building` records outputs, `sealed` is frozen;
/// a sealed version can only be `revoked`, and its row stays. One that was given
/// up before it was sealed, or whose inputs changed, is `abandoned`.
package enum VersionState: String, EntityState {
  case planned, building, sealed, revoked, abandoned

  package var successors: Set<VersionState> {
    switch self {
    case .planned: [.building, .abandoned]
    case .building: [.sealed, .abandoned]
    case .sealed: [.revoked]
    case .revoked, .abandoned: []
    }
  }

  /// What leads on from a version that has to be sealed and is not.
  package var wayToSealed: String {
    self == .abandoned || self == .revoked ? "`tarn build` makes the next version" : "finish it with `tarn build`"
  }
}

/// A directory of a lake that holds bytes the catalog vouches for.
package enum Place: String, Sendable, CaseIterable {
  case shards, artifacts
}

/// What stored bytes are for.
///
/// A file keeps the kind that it was stored for first; the same bytes may serve
/// others too.
package enum StoredKind: String, Sendable, CaseIterable {
  case shard
  case trainedIndex = "trained-index"
  /// The nearest image of each caption of a training.
  case nearestImages = "nearest-images"
  /// The nearest images that label the captions of a router.
  case routerLabels = "router-labels"
  /// The exact neighbours that an evaluation measures against.
  case evaluationTruth = "evaluation-truth"
  case segment
  case outputShard = "output-shard"
  /// Codes of all ids of an output, by which the best of what is found are ordered again.
  case refineShard = "refine-shard"
  /// The rows of a companion's shard.
  case pack

  /// Where such bytes are.
  package var place: Place { self == .shard ? .shards : .artifacts }

  /// Whether the lake makes them again when they are needed.
  package var canBeMadeAgain: Bool {
    switch self {
    case .segment, .nearestImages, .routerLabels, .evaluationTruth, .pack: true
    case .shard, .trainedIndex, .outputShard, .refineShard: false
    }
  }

  /// Directory of new files below the artifacts directory.
  package var directory: String {
    switch self {
    case .shard: preconditionFailure("shards are named by their source")
    case .trainedIndex: "trained"
    case .nearestImages: "nearest"
    case .routerLabels: "labels"
    case .evaluationTruth: "truth"
    case .segment: "segments"
    case .outputShard: "outputs"
    case .refineShard: "refine"
    case .pack: "packs"
    }
  }

  /// Extension of new files.
  package var fileExtension: String {
    switch self {
    case .shard: preconditionFailure("shards are named by their source")
    case .trainedIndex, .outputShard: "faiss"
    case .refineShard: "refine"
    case .nearestImages: "nearest"
    case .routerLabels: "labels"
    case .evaluationTruth: "truth"
    case .segment: "segment"
    case .pack: "pack"
    }
  }
}

/// What the rows of a source are features of.
package enum Modality: String, Sendable, CaseIterable {
  case image, text, other
  /// Of nothing: its shards are indexes that were adopted.
  case index
}

/// Who vouches for a revision's digest.
package enum Trust: String, Sendable, CaseIterable {
  /// It equals a digest that was given beforehand.
  case manifest
  /// It is what the first download had.
  case firstUse = "first-use"
  /// A worker elsewhere saw it, and what it made of it was read back here.
  case worker
}
