// What the history says of sources: registered, changed, renamed and removed, one
// event after the other. No catalog: events go in, what they come to comes out.

internal import Base

/// Sources as events tell of them, by the names that they have now.
struct SourceHistory {
  /// What events say of one source.
  struct Told {
    /// Whether its registration is among the events; not where it is older than the
    /// history.
    let isWhole: Bool
    var shardCount: JSONValue?
    /// Its numbers of shards, each with the number of the event that made it so; the
    /// last is in force.
    var shardCounts: [(since: Int, count: Int)] = []
    var dimension: JSONValue?
    var elementType: JSONValue?
    var modality: JSONValue?
    /// The array of its files that it reads, and the name that the source of these files has now.
    var array: String?
    var filesOf: String?
    /// Its lists of mirrors, each with the number of the event that made it so; the
    /// last is in force.
    var mirrors: [(since: Int, templates: [String])] = []
    /// Digest of the addresses on mirrors that were removed, by template.
    var removed: [String: String] = [:]
    /// Names of the shards that are dropped and keep their places.
    var tombstones: Set<String> = []

    /// Whether the source had as many shards at an event or later.
    ///
    /// - Parameters:
    ///   - count: Shards from its first one on.
    ///   - number: Of an event.
    /// - Returns: Whether it had, as far as anybody told.
    func had(_ count: Int, since number: Int) -> Bool {
      guard isWhole else { return true }
      return shardCounts.enumerated().contains { place, entry in
        let isInForce = place + 1 == shardCounts.count || shardCounts[place + 1].since > number
        return isInForce && entry.count == count
      }
    }

    /// How many shards the source had at an event; nil where nobody told.
    func shardCount(at number: Int) -> Int? {
      isWhole ? shardCounts.last { $0.since <= number }?.count : nil
    }

    /// Whether the source had these mirrors at an event or later.
    ///
    /// - Parameters:
    ///   - templates: A list of mirrors.
    ///   - number: Of an event.
    ///   - current: The mirrors it has now.
    /// - Returns: Whether it had, as far as anybody told.
    func had(_ templates: [String], since number: Int, current: [String]) -> Bool {
      if templates == current { return true }
      guard isWhole else {
        // Of what was before nobody told: each mirror is one that it has or had.
        return templates.allSatisfy { current.contains($0) || removed[$0] != nil }
      }
      return mirrors.enumerated().contains { place, list in
        let isInForce = place + 1 == mirrors.count || mirrors[place + 1].since > number
        return isInForce && list.templates == templates
      }
    }
  }

  /// The verbs that tell of sources.
  static let verbs: [EventVerb] = [
    .sourceAdd, .sourceMirrors, .sourceRename, .sourceSet, .sourceShards, .sourceRemove,
  ]

  private(set) var told: [String: Told] = [:]

  /// Takes the next event.
  mutating func take(_ number: Int, _ verb: EventVerb, _ subject: String, _ detail: JSONValue) {
    let templates = detail["mirrors"]?.elements.compactMap(\.string)
    switch verb {
    case .sourceAdd:
      told[subject] = Told(
        isWhole: true, shardCount: detail["shards"] ?? .null, dimension: detail["dimension"] ?? .null,
        elementType: detail["dtype"] ?? .null, modality: detail["modality"],
        mirrors: [(number, templates ?? [])])
      if let count = detail["shards"]?.count { told[subject]?.shardCounts = [(number, count)] }
      told[subject]?.array = detail["array"]?.string
      told[subject]?.filesOf = detail["files_of"]?.string
    case .sourceRename:
      told[subject] = detail["from"]?.string.flatMap { told.removeValue(forKey: $0) } ?? Told(isWhole: false)
      if let old = detail["from"]?.string {
        for (name, source) in told where source.filesOf == old { told[name]?.filesOf = subject }
      }
    case .sourceRemove:
      told[subject] = nil
    case .sourceMirrors, .sourceSet, .sourceShards:
      var source = told[subject] ?? Told(isWhole: false)
      if let templates { source.mirrors.append((number, templates)) }
      if let template = detail["removed"]?.string { source.removed[template] = detail["addresses_sha256"]?.string }
      if let count = detail["shards"] { source.shardCount = count }
      if let count = detail["shards"]?.count { source.shardCounts.append((number, count)) }
      source.tombstones.formUnion(detail["tombstones"]?.elements.compactMap(\.string) ?? [])
      source.tombstones.subtract(detail["taken_back"]?.elements.compactMap(\.string) ?? [])
      if let dimension = detail["dimension"] { source.dimension = dimension }
      if let elementType = detail["dtype"] { source.elementType = elementType }
      if let modality = detail["modality"] { source.modality = modality }
      told[subject] = source
    default: break
    }
  }
}
