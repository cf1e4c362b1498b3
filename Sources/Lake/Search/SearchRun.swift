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
  package var queries: SearchQueries
  package var k: Int
  package var nprobe: Int
  /// Finds this many times k rows and keeps the best k by their original features;
  /// nil to rank by the codes' own scores.
  package var rerank: Int?
  /// Rows of each query that are ordered again by the codes that refine, where the version has
  /// such; 0 for none, nil for as many as are of use.
  package var refine: Int?
  /// Whether every file is read and its SHA-256 checked before it is searched.
  ///
  /// Without it, damage that leaves a file well formed is not noticed.
  package var checksFiles: Bool
  package var threads: Int
  /// The only row ids that may be found; nil for all.
  package var ids: RowIDInput?
  /// Row ids that are not found; nil for none.
  package var excludedIDs: RowIDInput?
  /// A condition on companions' columns that rows must meet to be found; nil for all rows.
  package var condition: WhereCondition?
  /// The cosine from which on two rows count as duplicates, above 0 and at most 1; nil to show all.
  package var unique: Double?

  package init(
    version: VersionName, queries: SearchQueries, k: Int, nprobe: Int, rerank: Int? = nil, checksFiles: Bool = false,
    threads: Int, ids: RowIDInput? = nil, excludedIDs: RowIDInput? = nil, condition: WhereCondition? = nil,
    unique: Double? = nil
  ) {
    self.condition = condition
    self.unique = unique
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
  ///   `.notFound` for a row to search with that there is not, or that is excluded,
  ///   `.inputsMissing` when an original row is needed and not in the lake,
  ///   `.integrity` when a file is damaged, as far as that is looked at; what an encoder throws.
  package func run() throws -> SearchAnswer {
    cancellation.listen()
    let version = try catalog.version(options.version)
    try version.requireSearchable()
    let factor = options.rerank ?? 1
    guard (1...65_536 / factor).contains(options.k) else {
      throw TarnError(.usage, "k is \(options.k), not in 1...\(65_536 / factor)")
    }
    let hidden = try catalog.hiddenRows(of: version)?.held
    if case .rows(let ids) = options.queries, let hidden, let id = ids.first(where: hidden.contains) {
      throw try refusal(ofExcludedRow: id, in: version)
    }
    var subset = try subset(of: version, hiding: hidden)
    // The dimension as the catalog says it, so that unfit queries are refused before any file is read; the files have
    // the last word.
    let trained = try catalog.trainedIndex(id: version.trainedIndexID)
    let asked = try QueryVectors(options.queries, of: version, dimension: trained.dimension, in: catalog, cancellation)
    let selection = try options.condition.map { condition in
      try RowColumns.rows(
        of: version, in: catalog, where: condition, among: subset, checkpoint: { try cancellation.check() })
    }
    if let selection { subset = selection.rows }
    var notes = SearchNotes(
      k: options.k, nprobe: options.nprobe, listCount: trained.nlist, unique: options.unique,
      admittedCount: selection?.rows.count, conditionNotes: selection?.notes ?? [])
    notes.hiddenCount = hidden?.count ?? 0
    notes.namesRows = options.ids != nil || options.excludedIDs != nil
    let store = ArtifactStore(catalog)
    let outputs = try catalog.outputs(of: version)
    let places = try store.refinePlaces(of: outputs, version, forRows: options.refine)
    if options.checksFiles { for place in zip(places, outputs) { try check(place.0.path, place.1.refine?.digest) } }
    let searcher = try VersionSearcher(
      outputShards: outputs.map { output in
        let path = try store.path(ofOutput: output.digest, of: version)
        if options.checksFiles { try check(path, output.digest) }
        return path
      }, refinedBy: places)
    var inputs: [VersionInput]?
    var shard: (id: Int64, rows: FeatureRows)?
    let (vectors, origins) = try asked.vectors(searcher) { place in
      let known = try inputs ?? catalog.inputs(of: version).filter { $0.rowCount > 0 }
      inputs = known
      return try originalRow(place, known, of: version, &shard)
    }
    try cancellation.check()
    let reranker = options.rerank == nil ? nil : try self.reranker(version)
    let among = subset
    func found(_ queries: [Float], _ wanted: Int) throws -> SearchResult {
      let count = min(65_536, wanted * factor)
      let found = try searcher.search(
        queries, k: count, refining: searcher.candidates(for: count, refining: options.refine), nprobe: options.nprobe,
        threads: options.threads, among: among)
      try cancellation.check()
      return try reranker?.rerank(found, queries: queries, k: min(wanted, found.k)) ?? found
    }
    guard let unique = options.unique else {
      return SearchAnswer(result: try found(vectors, options.k), origins: origins, notes: notes)
    }
    let result = try searcher.searchUnique(
      vectors, k: options.k, nprobe: options.nprobe, threads: options.threads, threshold: unique, candidates: found)
    return SearchAnswer(result: result, origins: origins, notes: notes)
  }

  /// The error for a query that is a row of the version and excluded.
  private func refusal(ofExcludedRow id: Int64, in version: IndexVersion) throws -> TarnError {
    let place = try catalog.locate([id], in: version).first ?? nil
    let reason = try place.flatMap { place in
      try place.revision.flatMap { try catalog.reasonForExclusion(ofRow: place.row, of: $0, in: place.source) }
    }
    return TarnError(
      .notFound, "row \(id) of \(version.name) is excluded" + (reason.map { " (\($0.printable))" } ?? ""))
  }

  /// Reads a file and refuses it when it is damaged.
  private func check(_ path: String, _ digest: ContentDigest?) throws {
    try cancellation.check()
    guard try Disk.digest(of: path) != digest else { return }
    throw TarnError(.integrity, "\(path) is damaged", hint: "run `tarn verify --repair`")
  }

  /// The rows that are searched; nil for all of them.
  private func subset(of version: IndexVersion, hiding hidden: RowSubset?) throws -> RowSubset? {
    guard options.ids != nil || options.excludedIDs != nil else { return hidden }
    func read(_ input: RowIDInput, _ body: (Int64) -> Void) throws -> String {
      let file = try RowIDFile(input, of: version, in: catalog)
      try file.read(checkpoint: { try cancellation.check() }, body)
      return file.name
    }
    var subset = options.ids == nil ? hidden ?? RowSubset(excluding: true) : RowSubset()
    if let input = options.ids {
      let inputs = try catalog.inputs(of: version)
      let excluded = inputs.excludedIDs
      // Ids ascend with the inputs.
      let holes = inputs.filter { $0.isHole && $0.rowCount > 0 }.map(\.ids)
      func isInHole(_ id: Int64) -> Bool {
        let next = holes.partitioningIndex { $0.lowerBound > id }
        return next > 0 && holes[next - 1].contains(id)
      }
      var absentCount = 0
      let name = try read(input) { id in
        if excluded.contains(id) || hidden?.contains(id) == true || isInHole(id) {
          absentCount += 1
        } else {
          subset.insert(id)
        }
      }
      guard subset.count > 0 || absentCount == 0 else {
        throw TarnError(
          .usage, "\(version.name) has no row of \(name.printable): all are excluded or in holes",
          hint: "`tarn locate \(version.name) ID` says of each which")
      }
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

  /// A row as it was encoded, from its shard, among the inputs that have rows; nil where that is not in the lake.
  ///
  /// The shard stays open for the next one.
  private func originalRow(
    _ place: RowLocation, _ inputs: [VersionInput], of version: IndexVersion,
    _ shard: inout (id: Int64, rows: FeatureRows)?
  ) throws -> [Float]? {
    let next = inputs.partitioningIndex { $0.firstID > place.id }
    guard next > 0 else { return nil }
    let input = inputs[next - 1]
    guard !input.isHole, input.ids.contains(place.id), input.path != nil else { return nil }
    let normalisation = try catalog.trainedIndex(id: version.trainedIndexID).specification().normalisation
    if shard?.id != input.shardID {
      shard = nil
      shard = (input.shardID, try original(input, catalog.source(id: version.sourceID)))
    }
    return try shard?.rows.matrix(ofRows: [Int(place.id - input.firstID)]).scoredRows(0..<1, normalisation)
  }

  /// The original features of a version's rows.
  private func reranker(_ version: IndexVersion) throws -> Reranker {
    let (source, whole) = try catalog.rows(
      of: version, for: "--rerank needs the original features",
      hint: "search without --rerank, or adopt it under another name with --source")
    let inputs = whole.filter { !$0.isHole && $0.rowCount > 0 }
    return Reranker(
      ranges: inputs.map(\.ids), dimension: source.dimension,
      normalisation: try catalog.trainedIndex(id: version.trainedIndexID).specification().normalisation
    ) { place in
      try cancellation.check()
      return try original(inputs[place], source)
    }
  }

  /// The shard of an input, for a few of its rows.
  private func original(_ input: VersionInput, _ source: Source) throws -> FeatureRows {
    guard let path = input.path, let revision = input.revision else {
      throw TarnError(
        .inputsMissing,
        "shard \(input.shardName) of source \(source.name) is not in the lake, and a row of it was found",
        hint: (input.isNewest
          ? "run `tarn sync \(source.name) --shards \(input.shardOrdinal)`" : Source.wayBack(to: source.name))
          + ", or search without --rerank")
    }
    let absolute = catalog.layout.path(path, in: .shards)
    // A shard is 1.4 GB and a few of its rows are wanted: hashed when it was touched, once.
    if try !catalog.looksUntouched(input), try Disk.digest(of: absolute) != revision.digest {
      throw TarnError(
        .integrity, "\(absolute) has changed since it was fetched",
        hint: "run `tarn verify --repair`")
    }
    let rows = try FeatureRows(
      absolute, array: source.array, dimension: source.dimension, elementType: source.elementType)
    guard rows.rowCount == input.rowCount else {
      throw TarnError(.integrity, "\(absolute) has \(rows.rowCount) rows, the catalog counts \(input.rowCount)")
    }
    return rows
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
