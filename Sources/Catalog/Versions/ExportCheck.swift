// The door for what a document of somebody else's says of a source: whoever takes
// one in goes through here.

internal import Base
internal import Foundation

extension Source {
  /// Whether its rows are such as a document says.
  func hasKind(of stated: VersionExport.Source) -> Bool {
    dimension == stated.dimension && elementType.rawValue == stated.dtype && modality.rawValue == stated.modality
      && array == stated.array
  }
}

extension VersionExport.Source {
  /// What its rows are features of, and the type of their elements.
  ///
  /// - Returns: Both.
  /// - Throws: ``TarnError`` `.schemaNewer` for one that is not known.
  func kind() throws -> (modality: Modality, elementType: ElementType) {
    guard let modality = Modality(rawValue: modality), let type = ElementType(rawValue: dtype) else {
      throw TarnError(
        .schemaNewer, "source \(name) has a kind that this tarn does not know", hint: "use a newer tarn")
    }
    return (modality, type)
  }

  /// Checks that the source can be registered: its kind, its numbers, and that no
  /// name leads out of the lake and no address to what tarn does not fetch.
  ///
  /// - Parameter kept: Names of query items that may stand in an address, besides
  ///   those known to be harmless; nil for any, in a lake's own document.
  /// - Throws: ``TarnError`` naming the first thing that cannot be.
  func check(keeping kept: Set<String>?) throws {
    try LakeCatalog.validate(name: name, of: "source")
    _ = try kind()
    if let array { try LakeCatalog.validate(array: array) }
    guard (1...65_536).contains(dimension) else {
      throw TarnError(.usage, "source \(name) has dimension \(dimension)")
    }
    guard Set(mirrors).count == mirrors.count, mirrors.allSatisfy({ !$0.isEmpty && $0.printableLine == $0 }) else {
      throw TarnError(.usage, "source \(name) has a mirror twice, or one without a name")
    }
    guard Set(shards.map(\.name)).count == shards.count else {
      throw TarnError(.usage, "source \(name) has a shard twice")
    }
    for shard in shards {
      let encoded = shard.name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
      guard (try? URLTemplate.fileName(of: "file:///\(encoded)")) == shard.name else {
        throw TarnError(.usage, "'\(shard.name.printable)' cannot name a shard")
      }
      guard shard.urls.count <= mirrors.count, (1...(1 << 50)).contains(shard.bytes ?? 1),
        (1...(1 << 50)).contains(shard.trainedOn?.bytes ?? 1)
      else {
        throw TarnError(.usage, "source \(name) has numbers of \(shard.name) that no shard has")
      }
      for url in shard.urls {
        let allowed = kept ?? Set(AddressText(url).doubtful(keeping: []).map { $0.name.lowercased() })
        try URLTemplate.validate(url, keeping: allowed)
      }
    }
  }
}
