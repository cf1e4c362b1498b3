// The rows of an adopted version, for the verbs that need what they were made from.

internal import Base
internal import Catalog

extension LakeCatalog {
  /// The source whose rows a version's ids are, and its shards.
  ///
  /// - Parameters:
  ///   - version: A version, adopted or built.
  ///   - name: What the user says; nil for what was said when it was adopted.
  ///   - purpose: What needs it, for the error.
  ///   - hint: What to do where nobody said.
  /// - Returns: The source and the shards that have the version's rows: of a version that was
  ///   built, its inputs.
  /// - Throws: ``TarnError`` `.usage` where nobody says; `.notFound`.
  func rows(
    of version: IndexVersion, claimedOf name: String? = nil, for purpose: String, hint: String
  ) throws -> (source: Source, inputs: [VersionInput]) {
    let own = try source(id: version.sourceID)
    guard own.isAdopted else { return (own, try inputs(of: version)) }
    guard let name = name ?? version.rowsOf else {
      throw TarnError(
        .usage, "what the rows of \(version.name) were made from is unknown: it was adopted; \(purpose)", hint: hint)
    }
    let source = try source(named: name)
    try source.requireFeatures()
    guard source.dimension == own.dimension else {
      throw TarnError(
        .usage, "\(source.name) has dimension \(source.dimension), \(version.name) has \(own.dimension)",
        hint: "name the source whose rows its ids count")
    }
    return (
      source,
      try claimedInputs(of: version, from: source) {
        try $0.plannedRowCount(in: source, for: "the ids after it depend on it")
      }
    )
  }
}
