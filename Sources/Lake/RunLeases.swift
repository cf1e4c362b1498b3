// What runs need of a lake that depends on what is in it.

internal import Base
package import Catalog

extension SyncOptions {
  /// What a sync needs: sources that are whole are read, so that no other command is
  /// kept from reading them, too.
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
  /// What a build needs: one that has all its shards in the lake lets others read them.
  ///
  /// - Parameter catalog: The lake.
  /// - Returns: The leases.
  /// - Throws: ``TarnError`` `.usage` for shards that the source has not.
  package func leases(in catalog: LakeCatalog) throws -> [Lease] {
    // What is not there is the run's to say.
    let source = try? catalog.source(named: images)
    let isThere = try source.map { try catalog.shardsInUse(of: $0, ordinals: ordinals).allSatisfy { $0.path != nil } }
    return VerbLeases.of(!fetches || isThere == true ? "build of what is there" : "build")
      .leases([.version: [name], .training: [trained], .source: [images]])
  }
}

extension LakeCatalog {
  /// What a verb needs that reads the sources of versions.
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
