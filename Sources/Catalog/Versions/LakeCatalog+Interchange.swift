// A version in the words of others: an in-toto statement with SLSA provenance,
// and Croissant metadata. Both are read out of the document of `tarn export`.

package import Base
internal import Foundation
internal import GRDB

extension LakeCatalog {
  /// A sealed version as an in-toto statement with SLSA provenance v1.
  ///
  /// Subjects are the outputs; dependencies are the trained index and every
  /// shard revision that was trained on or indexed, with digest and address.
  /// SLSA gives dependencies no order, so the order, which the row ids follow,
  /// is in the external parameters.
  ///
  /// - Parameter name: The version, sealed or revoked.
  /// - Returns: The statement.
  /// - Throws: ``TarnError``, as ``export(_:)``.
  /// - SeeAlso: https://slsa.dev/spec/v1.0/provenance
  package func provenance(of name: VersionName) throws -> JSONValue {
    let document = try export(name)
    let facts = try buildFacts(of: name)
    let subjects = document.outputs.map { output in
      JSONValue.object([
        "name": .string(LakeLayout.outputName(name, ordinal: output.output)),
        "digest": .sha256(output.sha256),
      ])
    }
    let shards = try document.sources.flatMap { source in
      try source.shards.flatMap { shard in
        try shard.pinned.map { pinned in
          JSONValue.object([
            "name": .string("\(source.name)/\(shard.name)"), "uri": .optional(shard.urls.first?.asURI),
            "digest": .sha256(pinned.sha256), "mediaType": .string("application/octet-stream"),
            "annotations": try annotations(of: pinned.sha256, array: source.array),
          ]).withoutNulls
        }
      }
    }
    let trained = JSONValue.object([
      "name": .string("trained-index/\(document.trained.name)"), "digest": .sha256(document.trained.sha256),
    ])
    return .object([
      "_type": .string("https://in-toto.io/Statement/v1"), "subject": .array(subjects),
      "predicateType": .string("https://slsa.dev/provenance/v1"),
      "predicate": .object([
        "buildDefinition": .object([
          "buildType": .string("urn:tarn:build:1"), "externalParameters": parameters(of: document),
          "internalParameters": .object(["environment": JSONValue(parsing: facts.environment) ?? .object([:])]),
          "resolvedDependencies": .array([trained] + shards),
        ]),
        "runDetails": .object([
          "builder": .object(["id": .string("urn:uuid:\(facts.lake)")]),
          "metadata": .object([
            "invocationId": .string("\(name) \(document.versionSha256.hex)"), "startedOn": .string(facts.createdAt),
            "finishedOn": .string(facts.sealedAt),
          ]),
          "byproducts": .array([
            .object([
              "name": .string(LakeLayout.lockFileName(name)),
              "digest": .sha256(document.versionSha256),
            ])
          ]),
        ]),
      ]),
    ])
  }

  /// What there is to say of bytes: the array of them that is read, and the command that
  /// wrote them; null for nothing.
  private func annotations(of digest: ContentDigest, array: String?) throws -> JSONValue {
    let run = try command(thatWrote: digest)
    guard let array else { return run }
    guard case .object(var members) = run else { return .object(["array": .string(array)]) }
    members["array"] = .string(array)
    return .object(members)
  }

  /// What is recorded of the newest run of a command that gave these bytes; null for
  /// bytes that came otherwise.
  private func command(thatWrote digest: ContentDigest) throws -> JSONValue {
    try read { database in
      guard
        let run = try Row.fetchOne(
          database,
          sql: """
            SELECT transfer_id, command, seconds FROM command_run WHERE sha256 = ? ORDER BY transfer_id DESC LIMIT 1
            """,
          arguments: [digest.hex])
      else { return .null }
      let inputs = try Row.fetchAll(
        database, sql: "SELECT path, sha256 FROM command_input WHERE transfer_id = ? ORDER BY position",
        arguments: [run["transfer_id"] as Int64])
      return .object([
        "command": .string(run["command"]), "seconds": .number(run["seconds"]),
        "inputs": .array(
          inputs.map {
            .object(["name": .string($0["path"]), "digest": .object(["sha256": .string($0["sha256"])])])
          }),
      ])
    }
  }

  private func parameters(of document: VersionExport) -> JSONValue {
    .object([
      "version": .string(document.version), "source": .string(document.source),
      "spec": JSONValue(parsing: document.spec) ?? .string(document.spec),
      "trained": JSONValue(parsing: document.trained.spec) ?? .string(document.trained.spec),
      "shards_per_output": .count(document.shardsPerOutput), "missing": .string(document.missing),
      "bad_rows": .string(document.badRows),
      "inputs": .array(
        document.inputs.map { input in
          .object([
            "shard": .string("\(document.source)/\(input.shard)"), "sha256": .optional(input.sha256?.hex),
            "first_id": .integer(input.firstId), "rows": .count(input.rows), "output": .count(input.output),
          ])
        }),
    ])
  }

  /// What only the catalog knows of how a version was made.
  private func buildFacts(
    of name: VersionName
  ) throws -> (lake: String, environment: String, createdAt: String, sealedAt: String) {
    let row = try read { database in
      try Row.fetchOne(
        database,
        sql: """
          SELECT l.uuid, v.environment, v.created_at, v.sealed_at FROM index_version v, lake l
          WHERE v.name = ? AND v.number = ?
          """, arguments: [name.name, name.number])
    }
    guard let row else { throw TarnError(.notFound, "there is no index version \(name)") }
    return (row["uuid"], row["environment"], row["created_at"], row["sealed_at"] ?? "")
  }

  // MARK: Croissant

  /// A sealed version as a Croissant 1.0 dataset: its outputs, and the shards
  /// they were made from.
  ///
  /// - Parameter name: The version, sealed or revoked.
  /// - Returns: The JSON-LD document.
  /// - Throws: ``TarnError``, as ``export(_:)``.
  /// - SeeAlso: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
  package func croissant(of name: VersionName) throws -> JSONValue {
    let document = try export(name)
    let facts = try buildFacts(of: name)
    let outputs = document.outputs.map { output in
      let file = LakeLayout.outputName(name, ordinal: output.output)
      return Croissant.file(id: file, url: file, byteCount: output.bytes, digest: output.sha256)
    }
    let inputs = document.sources.filter { $0.filesOf == nil }.flatMap { source in
      source.shards.flatMap { shard in
        shard.pinned.map { pinned in
          // Each file has an id of its own.
          let isOlder = pinned == shard.trainedOn
          return Croissant.file(
            id: "\(source.name)/\(shard.name)" + (isOlder ? ":\(pinned.sha256.prefix(16))" : ""),
            url: shard.urls.first?.asURI ?? shard.name, byteCount: pinned.bytes, digest: pinned.sha256)
        }
      }
    }
    return Croissant.dataset(
      name: "\(name)", version: "\(name.number).0.0", date: facts.sealedAt,
      description: """
        FAISS index \(name) over \(document.source): \(document.trained.codec), nlist \(document.trained.nlist), \
        \(document.outputs.reduce(0) { $0 + $1.rows }) rows. Lock file SHA-256 \(document.versionSha256.hex).
        """, files: outputs + inputs)
  }

  /// A source as a Croissant 1.0 dataset: a file for each of its shards.
  ///
  /// - Parameter source: The source.
  /// - Returns: The JSON-LD document.
  /// - Throws: ``TarnError`` `.inputsMissing` when the digest of a shard is
  ///   not known: Croissant wants one for every file.
  package func croissant(of source: Source) throws -> JSONValue {
    let shards = try shards(of: source).filter { !$0.isDropped || $0.revision != nil || $0.expectedDigest != nil }
    let unknown = shards.filter { ($0.revision?.digest ?? $0.expectedDigest) == nil }
    guard unknown.isEmpty else {
      throw TarnError(
        .inputsMissing,
        "\(unknown.count) of \(shards.count) shards of \(source.name) have no digest, the first is \(unknown[0].name)",
        hint: "fetch them, or register the source with a manifest")
    }
    let kept = try fileSource(of: source).keptQuery
    let createdAt = try read { database in
      try String.fetchOne(database, sql: "SELECT created_at FROM source WHERE id = ?", arguments: [source.id])
    }
    let files = try shards.map { shard in
      Croissant.file(
        id: shard.name,
        url: try locations(of: shard.id).first.map { AddressText($0.url).redacted(keeping: kept).asURI }
          ?? shard.name,
        byteCount: shard.revision?.byteCount ?? shard.expectedByteCount ?? shard.probedByteCount,
        digest: shard.revision?.digest ?? shard.expectedDigest)
    }
    let listing = try listing(of: source)
    let owner = try source.companionOf.map { try self.source(id: $0).name }
    let what =
      owner.map { "what is known of the rows of \($0), shard by shard and row by row." }
      ?? "\(source.modality.rawValue) features, \(source.elementType.rawValue), dimension \(source.dimension)"
      + "\(source.array.map { ", array \($0)" } ?? ""); their order gives the row ids."
    return Croissant.dataset(
      name: source.name, version: "1.0.0", date: createdAt ?? "", listing: listing,
      description: "\(shards.count) shards of \(what)", files: files)
  }
}

/// The words of Croissant 1.0.
private enum Croissant {
  static func file(id: String, url: String, byteCount: Int?, digest: ContentDigest?) -> JSONValue {
    JSONValue.object([
      "@type": .string("cr:FileObject"), "@id": .string(id), "name": .string(id),
      "contentUrl": .string(url), "contentSize": .optional(byteCount.map { "\($0) B" }),
      "encodingFormat": .string("application/octet-stream"), "sha256": .optional(digest?.hex),
    ]).withoutNulls
  }

  static func dataset(
    name: String, version: String, date: String, listing: SourceListing? = nil, description: String, files: [JSONValue]
  ) -> JSONValue {
    let origin = listing.map { listing in
      JSONValue.object([
        "@type": .string("sc:Dataset"), "name": .string(listing.place), "version": .optional(listing.commit),
        "description": .string("\(listing.nameCount) names; SHA-256 of their listing: \(listing.digest)"),
      ]).withoutNulls
    }
    return JSONValue.object([
      "@context": context, "@type": .string("sc:Dataset"),
      "conformsTo": .string("http://mlcommons.org/croissant/1.0"), "name": .string(name),
      "version": .string(version), "datePublished": .string(date), "description": .string(description),
      "distribution": .array(files), "recordSet": .array([]), "isBasedOn": origin ?? .null,
    ]).withoutNulls
  }

  /// The context that the specification prescribes.
  private static let context: JSONValue = {
    var terms: [String: JSONValue] = [
      "@language": .string("en"), "@vocab": .string("https://schema.org/"), "sc": .string("https://schema.org/"),
      "cr": .string("http://mlcommons.org/croissant/"), "rai": .string("http://mlcommons.org/croissant/RAI/"),
      "dct": .string("http://purl.org/dc/terms/"), "conformsTo": .string("dct:conformsTo"),
      "data": .object(["@id": .string("cr:data"), "@type": .string("@json")]),
      "examples": .object(["@id": .string("cr:examples"), "@type": .string("@json")]),
      "dataType": .object(["@id": .string("cr:dataType"), "@type": .string("@vocab")]),
    ]
    for term in [
      "citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes",
      "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
      "replace", "separator", "source", "subField", "transform",
    ] { terms[term] = .string("cr:\(term)") }
    return .object(terms)
  }()
}

extension String {
  /// The address as others read addresses: a command has blanks and braces.
  fileprivate var asURI: String {
    guard CommandAddress.isOne(self) else { return self }
    return CommandAddress.prefix
      + (dropFirst(CommandAddress.prefix.count).addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? "")
  }
}

extension JSONValue {
  fileprivate static func sha256(_ digest: ContentDigest) -> JSONValue { .object(["sha256": .string(digest.hex)]) }

  /// An object without its members that are null.
  fileprivate var withoutNulls: JSONValue {
    guard case .object(let members) = self else { return self }
    return .object(members.filter { $0.value != .null })
  }
}
