// What `train` is told, and what it tells while it runs.

package import Base
package import Catalog
package import Indexer

/// What to train.
package struct TrainingOptions: Sendable {
  package var name: String
  package var images: String
  /// Nil to train on images alone, by plain k-means.
  package var captions: String?
  package var nlist: Int
  /// Pairs to draw; nil for 256 a list, or for all where there are fewer.
  package var pairs: Int?
  package var method: TrainingMethod
  /// Iterations of k-means, at most.
  package var iterations: Int
  /// Ends k-means before that once few captions change their list; nil to make all iterations.
  package var untilMoved: ConvergenceBound?
  /// How nearest images are found; nil where the user did not choose, which means exactly.
  package var nearest: NearestMethod?
  package var codec: VectorCodec
  /// How the codec's ranges follow from the training rows.
  package var ranges: RangeStatistic
  /// A second, better codec, whose codes order the best rows again; nil for none.
  package var refine: VectorCodec?
  package var seed: Int64
  package var normalisation: Normalisation
  package var router: RouterOptions
  /// Queries with which `--queries` tries lists of both kinds before the training; nil to try none.
  ///
  /// What is trained does not depend on them.
  package var queries: TrialQueries?
  /// Which shards of both sources; nil for all.
  package var ordinals: OrdinalSet?
  /// What to do about a pair of shards of which one is on no mirror.
  package var missing = MissingPolicy.fail
  /// What to do about a pair of rows of which one is NaN, infinite or zero.
  package var badRows = BadRowsPolicy.fail
  /// Whether sources must be registered as images and captions; not where a document or a
  /// record says what to train on.
  package var checksRoles = true
  /// Drawn rows that are left out, by the ordinal of their shard, where a record or a document says so; nil for the rows
  /// that the lake's lists exclude.
  var leftOut: [Int: [UInt32]]?

  package init(
    name: String, images: String, captions: String?, nlist: Int, pairs: Int? = nil, method: TrainingMethod = .paired,
    iterations: Int = 10, codec: VectorCodec = .sq4, ranges: RangeStatistic? = nil, seed: Int64 = 1,
    normalisation: Normalisation = .refuse, router: RouterOptions = RouterOptions()
  ) {
    self.name = name
    self.images = images
    self.captions = captions
    self.nlist = nlist
    self.pairs = pairs
    self.method = method
    self.iterations = iterations
    self.codec = codec
    self.ranges = codec.hasRanges ? ranges ?? codec.defaultRanges : .minmax
    self.seed = seed
    self.normalisation = normalisation
    self.router = router
  }
}

/// How far a training is.
package enum TrainingProgress: Sendable {
  case gathering(done: Int, total: Int)
  /// What queries found in lists of both kinds.
  case tried(ListTrial, of: Int)
  case nearestImages(tile: Int, of: Int)
  /// Images that are in the lists of a temporary index.
  case listed(done: Int, total: Int)
  /// Captions, or queries of a router, that were searched for in those.
  case foundInLists(done: Int, total: Int)
  case iterated(TrainingIteration, of: Int)
  /// Router queries whose nearest images are known.
  case labelled(done: Int, total: Int)
  /// The mean cross-entropy of an epoch of the router, in nats.
  case routed(epoch: Int, of: Int, loss: Double)
}
