// `search`: queries against a version, and where the rows that were found come
// from.

internal import Base
internal import Catalog
internal import Features
internal import Foundation
internal import Indexer

/// What to search.
package struct SearchOptions: Sendable {
  package var version: VersionName
  /// A feature file, `[n × dimension]`.
  package var queries: String
  package var k: Int
  package var nprobe: Int
  /// Finds as many times k rows and keeps the best by their original features;
  /// nil for the codes' own scores.
  package var rerank: Int?
  /// Whether every file is read and its SHA-256 checked before it is searched;
  /// else damage that leaves a file in shape is searched like anything.
  package var checksFiles: Bool
  package var threads: Int
  /// The row ids that alone are found; nil for all.
  package var ids: RowIDInput?
  /// Row ids that are not found; nil for none.
  package var excludedIDs: RowIDInput?

  package init(
    version: VersionName, queries: String, k: Int, nprobe: Int, rerank: Int? = nil, checksFiles: Bool = false,
    threads: Int, ids: RowIDInput? = nil, excludedIDs: RowIDInput? = nil
  ) {
    self.ids = ids
    self.excludedIDs = excludedIDs
    self.version = version
    self.queries = queries
    self.k = k
    self.nprobe = nprobe
    self.rerank = rerank
    self.checksFiles = checksFiles
    self.threads = threads
  }
}

/// Searches a version of a lake.
package struct SearchRun {
  private let catalog: LakeCatalog
  private let options: SearchOptions
  private let cancellation: Cancellation

  /// Prepares a search.
  ///
  /// - Parameters:
  ///   - catalog: A lake; reading is enough.
  ///   - options: What to search.
  ///   - cancellation: Asked between steps.
  package init(_ catalog: LakeCatalog, _ options: SearchOptions, cancellation: Cancellation) {
    self.catalog = catalog
    self.options = options
    self.cancellation = cancellation
  }

  /// Searches.
  ///
  /// - Returns: The neighbours of each query, best first.
  /// - Throws: ``TarnError`` `.conflict` for a version that is not sealed,
  ///   `.usage` for a file that holds no queries, or some of another dimension, or a k out of range,
  ///   `.inputsMissing` when an original row is needed and not in the lake,
  ///   `.integrity` when a file is damaged, as far as that is looked at.
  package func run() throws -> SearchResult {
    cancellation.listen()
    let version = try catalog.version(options.version)
    guard version.state == .sealed || version.state == .revoked else {
      throw TarnError(
        .conflict, "\(version.name) is \(version.state.rawValue), not sealed", hint: version.state.wayToSealed)
    }
    let file = try QueryFile.open(options.queries)
    // Told before any file of the version is read, which has the last word.
    try require(file, dimension: catalog.trainedIndex(id: version.trainedIndexID).dimension, of: version)
    let factor = options.rerank ?? 1
    guard (1...65_536 / factor).contains(options.k) else {
      throw TarnError(.usage, "k is \(options.k), not in 1...\(65_536 / factor)")
    }
    let subset = try subset(of: version)
    let store = ArtifactStore(catalog)
    let searcher = try VersionSearcher(
      outputShards: catalog.outputs(of: version).map { output in
        try cancellation.check()
        let path = try store.path(ofOutput: output.digest, of: version)
        guard options.checksFiles, try Disk.digest(of: path) != output.digest else { return path }
        throw TarnError(.integrity, "\(path) is damaged", hint: "run `tarn verify --repair`")
      })
    try require(file, dimension: searcher.dimension, of: version)
    try cancellation.check()
    let vectors = file.matrix.floats(rows: 0..<file.rowCount)
    let found = try searcher.search(
      vectors, k: options.k * factor, nprobe: options.nprobe, threads: options.threads, among: subset)
    try cancellation.check()
    guard options.rerank != nil else { return found }
    return try reranker(version).rerank(found, queries: vectors, k: options.k)
  }

  /// The rows that are searched; nil for all of them.
  private func subset(of version: IndexVersion) throws -> RowSubset? {
    guard options.ids != nil || options.excludedIDs != nil else { return nil }
    func read(_ input: RowIDInput, _ body: (Int64) -> Void) throws -> String {
      let file = try RowIDFile(input, of: version, in: catalog)
      try file.read(checkpoint: { try cancellation.check() }, body)
      return file.name
    }
    var subset = RowSubset(excluding: options.ids == nil)
    if let input = options.ids {
      let name = try read(input) { subset.insert($0) }
      guard subset.count > 0 else {
        throw TarnError(.usage, "\(name) has no row ids", hint: "leave --ids out to search all rows")
      }
    }
    if let input = options.excludedIDs {
      let isAlone = subset.isExcluding
      _ = try read(input) { id in
        if isAlone { subset.insert(id) } else { subset.remove(id) }
      }
    }
    return subset
  }

  private func require(_ file: FeatureFile, dimension: Int, of version: IndexVersion) throws {
    guard file.dimension == dimension else {
      throw TarnError(
        .usage, "\(options.queries) has rows of \(file.dimension) elements, \(version.name) has \(dimension)",
        hint: "search with features of the model it was built from")
    }
  }

  /// The original features of a version's rows.
  private func reranker(_ version: IndexVersion) throws -> Reranker {
    let inputs = try catalog.inputs(of: version).filter { !$0.isHole && $0.rowCount > 0 }
    let source = try catalog.source(id: version.sourceID)
    return Reranker(
      ranges: inputs.map { $0.firstID..<($0.firstID + Int64($0.rowCount)) }, dimension: source.dimension,
      normalisation: try catalog.trainedIndex(id: version.trainedIndexID).specification().normalisation
    ) { place in
      try cancellation.check()
      return try original(inputs[place], source)
    }
  }

  private func original(_ input: VersionInput, _ source: Source) throws -> FeatureFile {
    guard let path = input.path, let revision = input.revision else {
      throw TarnError(
        .inputsMissing,
        "shard \(input.shardName) of source \(source.name) is not in the lake, and a row of it was found",
        hint: (input.isNewest
          ? "run `tarn sync \(source.name) --shards \(input.shardOrdinal)`" : Source.wayBack(to: source.name))
          + ", or search without --rerank")
    }
    let absolute = catalog.layout.shards + "/" + path
    // A shard is 1.4 GB and a few of its rows are wanted: hashed when it was touched, once.
    if try !catalog.looksUntouched(input), try Disk.digest(of: absolute) != revision.digest {
      throw TarnError(
        .integrity, "\(absolute) has changed since it was fetched",
        hint: "run `tarn verify --repair`, or search without --rerank")
    }
    let file = try FeatureFile(absolute, dimension: source.dimension, elementType: source.elementType)
    guard file.rowCount == input.rowCount else {
      throw TarnError(.integrity, "\(absolute) has \(file.rowCount) rows, the catalog counts \(input.rowCount)")
    }
    return file
  }
}

extension SearchResult {
  /// The files that ``write(to:)`` writes.
  ///
  /// - Parameter stem: `OUT`.
  /// - Returns: Ids first, then scores.
  package static func files(of stem: String) -> (ids: String, scores: String) {
    (stem + ".ids.npy", stem + ".scores.npy")
  }

  /// Writes the answer as NumPy files: `OUT.ids.npy`, int64, and
  /// `OUT.scores.npy`, float32, both `[n × k]`.
  ///
  /// - Parameter stem: `OUT`.
  /// - Throws: ``TarnError`` when the disk refuses.
  package func write(to stem: String) throws {
    try Disk.writeAtomically(
      NpyHeader.bytes(descr: "<i8", rowCount: queryCount, columns: k) + paddedIDs.littleEndianBytes,
      to: Self.files(of: stem).ids)
    try Disk.writeAtomically(
      NpyHeader.bytes(descr: "<f4", rowCount: queryCount, columns: k)
        + paddedScores.map(\.bitPattern).littleEndianBytes, to: Self.files(of: stem).scores)
  }
}

extension Array where Element: FixedWidthInteger {
  /// The elements' bytes, least significant first.
  fileprivate var littleEndianBytes: [UInt8] {
    flatMap { element in (0..<Element.bitWidth / 8).map { UInt8(truncatingIfNeeded: element >> (8 * $0)) } }
  }
}
