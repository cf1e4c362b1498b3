// How a query's neighbours are told to programs: what `tarn search --json` prints, and `tarn serve` answers.

package import Base
package import Indexer

/// The neighbours of one query as a JSON object.
package enum SearchLine {
  /// Makes the object.
  ///
  /// - Parameters:
  ///   - query: Its number, from 0.
  ///   - neighbors: Best first.
  ///   - places: Where each comes from.
  /// - Returns: Members with one element for each neighbour.
  package static func json(
    query: Int, _ neighbors: [Neighbor], places: [(shard: String, row: Int)?]
  ) -> [String: JSONValue] {
    [
      "query": .count(query), "ids": .array(neighbors.map { .integer($0.id) }),
      "scores": .array(neighbors.map { .number(Double($0.score)) }),
      "shards": .array(places.map { $0.map { .string($0.shard) } ?? .null }),
      "rows": .array(places.map { $0.map { .count($0.row) } ?? .null }),
    ]
  }
}
