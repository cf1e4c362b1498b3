// Leases of verbs whose needs depend on what is in the lake: work on shards that are all here lets others read them, too.

internal import Base
package import Catalog

extension SyncOptions {
  /// The leases of a sync.
  ///
  /// A source whose shards are all here is only read, so that other commands may read it meanwhile.
  ///
  /// - Parameter catalog: The lake.
  /// - Returns: The leases.
  /// - Throws: ``TarnError`` `.notFound`.
  package func leases(in catalog: LakeCatalog) throws -> [Lease] {
    let named = try catalog.fileSources(sources)
    return try named.flatMap { source in
      let isWhole = try !refresh && catalog.shardsInUse(of: source, ordinals: ordinals).allSatisfy(catalog.holdsWhole)
      let row = VerbLeases.of(refresh ? "sync --refresh" : isWhole ? "sync of what is there" : "sync")
      return row.leases([.source: [source.name]])
    }
  }
}

extension BuildOptions {
  /// The leases of a build.
  ///
  /// One that has all its shards in the lake only reads its source.
  ///
  /// - Parameter catalog: The lake.
  /// - Returns: The leases.
  /// - Throws: ``TarnError`` `.usage` for shards that the source has not.
  package func leases(in catalog: LakeCatalog) throws -> [Lease] {
    // A source that does not exist is the run's to report.
    let source = try? catalog.source(named: images)
    let isThere = try source.map { try catalog.shardsInUse(of: $0, ordinals: ordinals).allSatisfy { $0.path != nil } }
    return VerbLeases.of(!fetches || isThere == true ? "build of what is there" : "build")
      .leases([.version: [name], .training: [trained], .source: [images]])
  }
}

extension LakeCatalog {
  /// The leases of a verb that reads the sources of versions.
  ///
  /// - Parameters:
  ///   - verb: The verb, as ``VerbLeases`` has it.
  ///   - versions: As a user names them.
  ///   - source: A source that is named beside them.
  /// - Returns: The leases.
  /// - Throws: ``TarnError`` `.notFound`, `.usage`.
  package func leases(of verb: String, overVersions versions: [String], and source: String? = nil) throws -> [Lease] {
    let versions = try versions.map { try version(versionName($0)) }
    let read = try versions.flatMap { [try self.source(id: $0.sourceID).name, $0.rowsOf].compactMap(\.self) }
    let names = Array(Set(read + [source].compactMap(\.self)))
    return VerbLeases.of(verb).leases([
      .source: names, .truth: names, .rebuild: Array(Set(versions.map { "\($0.name)" })),
    ])
  }
}
