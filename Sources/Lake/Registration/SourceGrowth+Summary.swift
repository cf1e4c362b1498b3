// What came of `source extend` and `source refresh`, as the verbs print it.

package import Catalog

extension SourceGrowth {
  /// What `source extend` or `source refresh` found and did.
  package struct Summary: Sendable {
    /// Names of the shards that were added, in order.
    package var added: [String] = []
    /// Shards whose address the place does not list any more, in order.
    package var gone: [String] = []
    /// Shards that are at another address: the same bytes under another name, or the
    /// same name elsewhere.
    package var moved: [(shard: String, to: String)] = []
    /// Shards that have other bytes there than were expected or fetched, in order.
    package var changed: [String] = []
    /// New files that are not added yet.
    package var waiting: [WaitingFile] = []
    /// Why each of those waits, a line each.
    package var waits: [String] = []
    /// The source in whose order files are taken though nobody named it: their names are those of its files.
    package var orderOf: String?
    /// Places that stay empty, as the partner's shards there were dropped, each in a line.
    package var empty: [String] = []
    /// Files of companions that stand beside other shards than their names say, each in a line.
    package var strays: [String] = []
    /// Shards of `moved` and `changed` whose new address, and what is expected of their bytes, was recorded.
    package var taken: Set<String> = []
    /// A version that rests on the source, so that none of those was recorded; nil where there is none.
    package var heldBy: String?
    /// The directory in which moved files have other names; nil where none has moved.
    package var directory: String?
    /// The listing, where it is another than the one that is recorded.
    package var listing: SourceListing?
    /// How many shards the source has.
    package var shardCount = 0
  }
}
