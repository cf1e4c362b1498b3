// What is searched for, as vectors: those of a file, what an encoder makes of words and
// pictures, and rows of the version itself.

internal import Base
internal import Catalog
internal import Features
package import Fetch
package import Indexer

/// What is searched for.
package enum SearchQueries: Sendable {
  /// A feature file, `[n × dimension]`, and which of its arrays; nil for the only one.
  case file(String, array: String? = nil)
  /// Texts and pictures, who makes vectors of them, and whether those are given unit length.
  case encoded([EncoderQuery], by: any FeatureEncoder, normalises: Bool)
  /// Rows of the version, by their ids.
  case rows([RowID])
}

/// Where the vector of a row came from.
package enum VectorOrigin: String, Sendable {
  /// The original features.
  case shard
  /// What its code stands for.
  case index
}

/// What a search found.
package struct SearchAnswer: Sendable {
  package let result: SearchResult
  /// Of queries that are rows, where the vector of each came from; else nothing.
  package let origins: [VectorOrigin]
  /// What has to be said of it.
  package let notes: SearchNotes
}

/// Queries that were looked at as far as they can be before a version's files are.
struct QueryVectors {
  private enum Content {
    case vectors([Float])
    case rows([RowLocation])
  }

  private let content: Content

  /// Looks at queries.
  ///
  /// - Parameters:
  ///   - queries: What is searched for.
  ///   - version: The version.
  ///   - dimension: Its dimension.
  ///   - catalog: The lake.
  ///   - cancellation: Ends the wait for an encoder.
  /// - Throws: ``TarnError`` `.usage` for a file that holds no queries, or some of another dimension,
  ///   `.notFound` for a row that the version has not; what an encoder throws.
  init(
    _ queries: SearchQueries, of version: IndexVersion, dimension: Int, in catalog: LakeCatalog,
    _ cancellation: Cancellation
  ) throws {
    switch queries {
    case .file(let path, let array):
      let file = try QueryFile.open(path, array: array, orElse: "say --queries-array NAME")
      guard file.dimension == dimension else {
        throw TarnError(
          .usage, "\(path) has rows of \(file.dimension) elements, \(version.name) has \(dimension)",
          hint: "search with features of the model it was built from")
      }
      content = .vectors(file.matrix.floats(rows: 0..<file.rowCount))
    case .encoded(let queries, let encoder, let normalises):
      var vectors: [Float] = []
      for (query, result) in zip(queries, try encoder.encode(queries, cancellation: cancellation)) {
        do throws(TarnError) {
          vectors += try EncodedVector.checked(result.get(), dimension: dimension, normalises: normalises)
        } catch {
          // What is wrong with the encoder's name is wrong for every query.
          guard error.code != .usage else { throw error }
          throw error.about(query.name)
        }
      }
      content = .vectors(vectors)
    case .rows(let ids):
      content = .rows(try LocateRun(catalog, cancellation: cancellation).run(ids, in: version.name))
    }
  }

  /// The vectors.
  ///
  /// - Parameters:
  ///   - searcher: The version's files.
  ///   - original: A row from its shard; nil where that is not in the lake.
  /// - Returns: `[n × dimension]`, and of rows where each came from.
  /// - Throws: ``TarnError`` when a file is damaged.
  func vectors(
    _ searcher: VersionSearcher, original: (RowLocation) throws -> [Float]?
  ) throws -> (vectors: [Float], origins: [VectorOrigin]) {
    switch content {
    case .vectors(let vectors):
      // Of a file that was looked at before the version's own.
      guard vectors.count % searcher.dimension == 0 else {
        throw TarnError(.integrity, "the files of the version have another dimension than the catalog says")
      }
      return (vectors, [])
    case .rows(let places):
      var vectors: [Float] = []
      var origins: [VectorOrigin] = []
      // In the order of their ids, so that a shard is opened once.
      var originals = [[Float]?](repeating: nil, count: places.count)
      for index in places.indices.sorted(by: { places[$0].id < places[$1].id }) {
        originals[index] = try original(places[index])
      }
      let coded = try searcher.bestVectors(ofRows: zip(places, originals).filter { $1 == nil }.map(\.0.id))
      var next = coded.makeIterator()
      for (place, row) in zip(places, originals) {
        guard let vector = row ?? next.next() ?? nil else {
          throw TarnError(
            .integrity, "row \(place.id) is in no list of the version's files", hint: "run `tarn verify --repair`")
        }
        vectors += vector
        origins.append(row == nil ? .index : .shard)
      }
      return (vectors, origins)
    }
  }
}

extension EncoderQuery {
  /// What it is called in a message.
  fileprivate var name: String {
    switch self {
    case .text(let text): "the text '\(text.count > 60 ? text.prefix(60).printable + "…" : text.printable)'"
    case .image(let path): "the picture \(path.printable)"
    }
  }
}
