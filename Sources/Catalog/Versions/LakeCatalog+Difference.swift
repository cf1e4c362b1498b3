// What sets two versions apart: parameters, inputs, excluded rows, outputs.

package import Base

extension LakeCatalog {
  /// What sets two versions apart.
  ///
  /// - Parameters:
  ///   - first: A version.
  ///   - second: Another.
  /// - Returns: Differences in parameters, inputs and outputs.
  /// - Throws: ``TarnError`` `.notFound`.
  package func difference(_ first: VersionName, _ second: VersionName) throws -> VersionDifference {
    let (a, b) = (try version(first), try version(second))
    let (inputsA, inputsB) = (try inputs(of: a), try inputs(of: b))
    let byShard = Dictionary(inputsB.map { ($0.shardID, $0) }, uniquingKeysWith: { first, _ in first })
    let shardsA = Set(inputsA.map(\.shardID))
    let (parametersA, parametersB) = (try parameters(of: a), try parameters(of: b))
    let outputsA = Set(try outputs(of: a).map(\.digest))
    let outputsB = Set(try outputs(of: b).map(\.digest))
    return VersionDifference(
      parameters: zip(parametersA, parametersB).compactMap { old, new in
        old.value == new.value ? nil : .init(name: old.name, first: old.value, second: new.value)
      },
      removed: inputsA.filter { byShard[$0.shardID] == nil }.map(\.shardName),
      added: inputsB.filter { !shardsA.contains($0.shardID) }.map(\.shardName),
      changed: inputsA.filter { input in
        guard let other = byShard[input.shardID] else { return false }
        return other.revision?.digest != input.revision?.digest
      }.map(\.shardName),
      moved: inputsA.filter { input in
        byShard[input.shardID].map {
          $0.revision?.digest == input.revision?.digest && $0.firstID != input.firstID
        } ?? false
      }.map(\.shardName), sharedOutputs: outputsA.intersection(outputsB).count,
      outputsOnlyInFirst: outputsA.subtracting(outputsB).count,
      outputsOnlyInSecond: outputsB.subtracting(outputsA).count,
      excludedOnlyInFirst: excluded(of: inputsA, but: inputsB),
      excludedOnlyInSecond: excluded(of: inputsB, but: inputsA))
  }

  /// Rows of shards' bytes that some inputs leave out and others, which have these bytes, do not.
  private func excluded(of inputs: [VersionInput], but others: [VersionInput]) -> [VersionDifference.Rows] {
    let known = Dictionary(others.map { ($0.shardID, $0) }, uniquingKeysWith: { first, _ in first })
    return inputs.compactMap { input in
      guard let other = known[input.shardID], let digest = input.revision?.digest, other.revision?.digest == digest
      else { return nil }
      let rows = Set(input.excludedRows).subtracting(other.excludedRows).sorted()
      return rows.isEmpty ? nil : .init(shard: input.shardName, rows: rows)
    }
  }

  private func parameters(of version: IndexVersion) throws -> [(name: String, value: String)] {
    let trained = try trainedIndex(id: version.trainedIndexID)
    let source = try source(id: version.sourceID)
    let captions = try trained.captionSourceID.map { try self.source(id: $0).name }
    // An adopted index has a specification of its own: what it does not say is empty.
    let spec = JSONValue(parsing: trained.spec)
    func said(_ member: String) -> String {
      switch spec?[member] {
      case nil, .null?: ""
      case .string(let text)?: text
      case let value?: value.text
      }
    }
    return [
      ("source", source.name), ("array", source.array ?? ""), ("trained_index", trained.name),
      ("trained_sha256", trained.digest?.hex ?? ""), ("method", trained.method), ("nlist", String(trained.nlist)),
      ("codec", trained.codec), ("refine", trained.refine ?? ""), ("ranges", said("ranges")),
      ("trained_on", try self.source(id: trained.imageSourceID).name), ("captions", captions ?? ""),
      ("pairs", String(trained.pairCount)), ("iterations", String(trained.iterations)),
      ("until_moved", said("until_moved")), ("seed", String(trained.seed)), ("normalisation", said("normalisation")),
      ("nearest", said("nearest")), ("router", said("router")),
      ("shards_per_output", String(version.shardsPerOutput)),
      ("missing", version.missingPolicy.rawValue), ("bad_rows", version.badRowsPolicy.rawValue),
    ]
  }
}

/// What sets two versions apart.
package struct VersionDifference: Sendable {
  package struct Parameter: Sendable {
    package let name: String
    package let first: String
    package let second: String
  }

  /// Rows of a shard.
  package struct Rows: Sendable {
    package let shard: String
    /// From 0, ascending.
    package let rows: [Int]
  }

  package let parameters: [Parameter]
  /// Shards that only the first has.
  package let removed: [String]
  /// Shards that only the second has.
  package let added: [String]
  /// Shards of both with other bytes.
  package let changed: [String]
  /// Shards of both with the same bytes whose rows have other ids.
  package let moved: [String]
  package let sharedOutputs: Int
  package let outputsOnlyInFirst: Int
  package let outputsOnlyInSecond: Int
  /// Rows of the same bytes that only the first leaves out.
  package let excludedOnlyInFirst: [Rows]
  /// Those that only the second leaves out.
  package let excludedOnlyInSecond: [Rows]

  /// Whether both have the same inputs, parameters and outputs.
  package var isEmpty: Bool {
    parameters.isEmpty && removed.isEmpty && added.isEmpty && changed.isEmpty && moved.isEmpty
      && outputsOnlyInFirst == 0
      && outputsOnlyInSecond == 0 && excludedOnlyInFirst.isEmpty && excludedOnlyInSecond.isEmpty
  }
}
