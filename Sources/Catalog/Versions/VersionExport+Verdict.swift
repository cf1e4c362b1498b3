// What a document says, held against itself: its digest is that of the lock file
// which its content comes to, and what the lock file does not say must follow
// from what it says. No catalog, no file, no request.

package import Base

extension VersionExport {
  /// What nothing that is made from a document proves of it.
  package static let unprovable = [
    StatementVerdict.Omission("sources[].mirrors", "addresses are where bytes were, not what they are"),
    StatementVerdict.Omission("sources[].shards[].urls", "addresses are where bytes were, not what they are"),
    StatementVerdict.Omission("sources[].modality", "rows do not tell what they describe"),
    StatementVerdict.Omission("trained.name", "it is a name"),
    StatementVerdict.Omission("sources[].shards[].name of no input", "it is a name"),
    StatementVerdict.Omission("sources[].shards[] without sha256", "nothing pins these shards"),
  ]

  /// The document without what may change while it stays true: the sizes of
  /// shards that the version does not hold.
  ///
  /// - Parameter places: Whether to keep addresses and names, which are true of
  ///   the lake that exported it alone.
  /// - Returns: The rest, to compare.
  /// - Throws: What the encoder throws.
  package func comparable(places: Bool) throws -> JSONValue {
    guard case .object(var members) = try json() else { return .null }
    func without(_ value: JSONValue, _ names: [String]) -> JSONValue {
      guard case .object(let members) = value else { return value }
      return .object(members.filter { !names.contains($0.key) })
    }
    members["sources"] = .array(
      (members["sources"]?.elements ?? []).map { source in
        let shards = (source["shards"]?.elements ?? []).map { shard in
          let rest = without(shard, places ? [] : ["urls"])
          return shard["sha256"] == nil ? without(rest, ["bytes", "rows", "dropped"]) : rest
        }
        // Whose files they are is said for who fetches them, each once.
        let members = ["files_of"] + (places ? [] : ["mirrors", "modality"])
        guard case .object(var rest) = without(source, members) else { return source }
        rest["shards"] = .array(shards)
        return .object(rest)
      })
    // It tells whether shards were dropped when the document was written.
    members["format"] = nil
    if !places {
      members["trained"] = members["trained"].map { without($0, ["name"]) }
      // The number that the version got here, and the digest that follows from it.
      for name in ["version", "version_sha256"] { members[name] = nil }
    }
    return .object(members)
  }

  /// Holds the document against its own digest and against itself.
  ///
  /// - Parameter segmentFormats: Formats of segments that it may have been made
  ///   with; a document does not say which.
  /// - Returns: Every statement that contradicts another. Clean means that the
  ///   document is one that a tarn exported, or was made up as a whole.
  package func verdict(segmentFormats: ClosedRange<Int>) -> StatementVerdict {
    var verdict = StatementVerdict()
    verdict.check("the document against itself")
    checkTraining(&verdict)
    checkSources(&verdict)
    verdict.compare("format", expected: VersionExport.format(of: sources, outputs), found: format)
    verdict.compare("spec", expected: VersionPlan.spec(of: self), found: spec)
    if (try? VersionName(parsing: version)) == nil { verdict.differ("version", expected: "NAME@N", found: version) }
    let found = segmentFormats.map { ContentDigest.of(lockContent(segmentFormat: $0).json.text + "\n") }
    verdict.check("version_sha256 against the lock file that the document comes to")
    if !found.contains(versionSha256) {
      // The content is what counts; where it contradicts itself that is named first.
      verdict.differ(
        "version_sha256", expected: "\(found.last?.hex ?? "") of the document's content", found: versionSha256.hex)
    }
    for field in ["sources[].dtype", "sources[].shards[].bytes of no input"] {
      verdict.leaveOut(field, because: "it shows when the shards are read")
    }
    for omission in Self.unprovable { verdict.leaveOut(omission.field, because: omission.reason) }
    return verdict
  }

  /// The lock file that the document comes to.
  func lockContent(segmentFormat: Int) -> LockContent {
    let specification = JSONValue(parsing: trained.spec)
    let byOutput = Dictionary(grouping: inputs, by: \.output)
    return LockContent(
      version: version, source: source, array: sources.first { $0.name == source }?.array, isAdopted: isAdopted,
      shardsPerOutput: shardsPerOutput, missing: missing, badRows: badRows,
      segmentFormat: segmentFormat,
      trained: .init(
        sha256: trained.sha256.hex, specSha256: ContentDigest.of(trained.spec).hex, nlist: trained.nlist,
        codec: trained.codec, method: trained.method, seed: trained.seed, iterations: trained.iterations,
        pairs: trained.pairs, router: specification?["router"]?["method"]?.string, refine: specification?.refinedBy),
      inputs: inputs.map { input in
        .init(
          shard: input.shard, ordinal: input.ordinal, sha256: input.sha256?.hex, bytes: input.bytes,
          firstID: input.firstId, rows: input.rows, output: input.output, excluded: input.excluded ?? [])
      },
      outputs: outputs.map { output in
        let (first, last) = (byOutput[output.output]?.first, byOutput[output.output]?.last)
        // Whatever a stranger's numbers add up to, it is another digest.
        return .init(
          output: output.output, sha256: output.sha256.hex, bytes: output.bytes, rows: output.rows,
          firstID: first?.firstId ?? 0, endID: (last?.firstId ?? 0) &+ Int64(last?.rows ?? 0),
          listsSha256: output.listsSha256.hex,
          refine: output.refine.map { .init(sha256: $0.sha256.hex, bytes: $0.bytes) })
      })
  }

  // MARK: What follows from what

  /// The specification of the training against the members that repeat it.
  private func checkTraining(_ verdict: inout StatementVerdict) {
    guard let specification = JSONValue(parsing: trained.spec) else {
      return verdict.differ("trained.spec", expected: "JSON", found: trained.spec)
    }
    let repeated: [(String, JSONValue?, JSONValue)] = [
      ("method", specification["method"], .string(trained.method)),
      ("codec", specification["codec"], .string(trained.codec)),
      ("nlist", specification["nlist"], .count(trained.nlist)),
      ("iterations", specification["iterations"], .count(trained.iterations)),
      ("seed", specification["seed"], .integer(trained.seed)),
      ("pairs", specification["sample"]?["pairs"], .count(trained.pairs)),
    ]
    for (name, expected, found) in repeated {
      verdict.compare("trained.\(name)", expected: expected ?? .null, found: found)
    }
    // What adopted codes were made from is unknown, so nothing refines them.
    let refines = specification["refine"] != nil && !isAdopted
    for output in outputs where (output.refine != nil) != refines {
      verdict.differ(
        "outputs[\(output.output)].refine", expected: refines ? "codes that refine" : "nothing",
        found: refines ? "nothing" : "codes that refine")
    }
    for (role, name) in [("images", trained.images as String?), ("captions", trained.captions)] {
      let listed = specification[role]?.elements ?? []
      guard let name else {
        if !listed.isEmpty { verdict.differ("trained.\(role)", expected: "the name of a source", found: "nothing") }
        continue
      }
      guard let place = sources.firstIndex(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
        verdict.differ("trained.\(role)", expected: "a source of the document", found: name)
        continue
      }
      if listed.isEmpty { verdict.differ("trained.\(role)", expected: "nothing", found: name) }
      verdict.compare(
        "sources[\(place)].dimension", expected: specification["dimension"] ?? .null,
        found: .count(sources[place].dimension))
      verdict.compare(
        "sources[\(place)].dtype against trained.spec.conversion", expected: specification["conversion"]?[role]?.string,
        found: ElementType(rawValue: sources[place].dtype)?.conversion)
      verdict.compare(
        "sources[\(place)].array against trained.spec.arrays", expected: specification["arrays"]?[role]?.string,
        found: sources[place].array)
      let ordinals = VersionExport.trainedShards(specification, count: listed.count)
      if ordinals.count != listed.count {
        verdict.differ("number of trained.spec.shards", expected: "\(listed.count)", found: "\(ordinals.count)")
      }
      for (ordinal, trainedOn) in zip(ordinals, listed) {
        guard sources[place].shards.indices.contains(ordinal) else {
          verdict.differ(
            "number of sources[\(place)].shards", expected: "more than \(ordinal)",
            found: String(sources[place].shards.count))
          break
        }
        verdict.compare(
          "sources[\(place)].shards[\(ordinal)]\(sources[place].shards[ordinal].trainedOn == nil ? "" : ".trained_on").sha256",
          expected: trainedOn["sha256"]?.string, found: sources[place].shards[ordinal].trainedDigest?.hex)
      }
    }
  }

  /// The sources against the inputs and the shards that were trained on.
  private func checkSources(_ verdict: inout StatementVerdict) {
    var needed = Set([source, trained.images] + (trained.captions.map { [$0] } ?? []))
    for (place, source) in sources.enumerated() where needed.remove(source.name) == nil {
      verdict.differ("sources[\(place)].name", expected: "a source that is used, once", found: source.name)
    }
    guard let place = sources.firstIndex(where: { $0.name.utf8.elementsEqual(source.utf8) }), place == 0 else {
      return verdict.differ("source", expected: sources.first?.name ?? "the first of the sources", found: source)
    }
    let shards = sources[place].shards
    for (index, input) in inputs.enumerated() {
      guard shards.indices.contains(input.ordinal) else {
        verdict.differ(
          "inputs[\(index)].ordinal", expected: "one of \(shards.count) shards", found: String(input.ordinal))
        continue
      }
      let shard = shards[input.ordinal]
      verdict.compare("inputs[\(index)].shard", expected: shard.name, found: input.shard)
      guard let digest = input.sha256 else { continue }
      verdict.compare("inputs[\(index)].sha256", expected: shard.sha256?.hex, found: digest.hex)
      verdict.compare(
        "inputs[\(index)].bytes", expected: shard.bytes.map { String($0) }, found: input.bytes.map { String($0) })
    }
    checkFiles(&verdict)
    let trainedOn = trainedOn
    let pinned = Set(inputs.compactMap(\.sha256)).union(trainedOn)
    let built = Set(inputs.lazy.filter { $0.sha256 != nil }.map(\.ordinal))
    for (place, source) in sources.enumerated() {
      var names: Set<String> = []
      for (index, shard) in source.shards.enumerated() {
        let path = "sources[\(place)].shards[\(index)]"
        if let digest = shard.sha256, !pinned.contains(digest) {
          verdict.differ("\(path).sha256", expected: "nothing, as no input has it", found: digest.hex)
        }
        if let other = shard.trainedOn {
          // A second content is one that a training took where the build took the first.
          let isTaken = trainedOn.contains(other.sha256) && other.sha256 != shard.sha256
          if !isTaken || place != 0 || !built.contains(index) {
            verdict.differ("\(path).trained_on", expected: "nothing, as no training has it", found: other.sha256.hex)
          }
        }
        if shard.dropped != nil {
          verdict.compare("\(path).dropped", expected: "true", found: shard.dropped.map { String($0) })
          if shard.sha256 != nil {
            verdict.differ("\(path).dropped", expected: "nothing, as it is needed", found: "true")
          }
          if shard.rows == nil {
            verdict.differ("\(path).rows", expected: "the length of the tombstone", found: "nothing")
          }
        }
        if !names.insert(shard.name).inserted {
          verdict.differ("\(path).name", expected: "a name of its own", found: shard.name)
        }
      }
    }
  }

  /// Sources that read the files of another one against that one: it has files of its own,
  /// both read an array of theirs, and the files are the same.
  private func checkFiles(_ verdict: inout StatementVerdict) {
    for (place, source) in sources.enumerated() {
      guard let name = source.filesOf else { continue }
      guard let owner = sources.first(where: { $0.name.utf8.elementsEqual(name.utf8) }), owner.filesOf == nil,
        owner.array != nil, source.array != nil
      else {
        verdict.differ(
          "sources[\(place)].files_of", expected: "a source of the document with files of several arrays", found: name)
        continue
      }
      let isSame =
        owner.mirrors == source.mirrors && owner.shards.count == source.shards.count
        && zip(owner.shards, source.shards).allSatisfy { $0.name == $1.name && $0.urls == $1.urls }
      if !isSame {
        verdict.differ("sources[\(place)].shards", expected: "the files of \(owner.name)", found: "others")
      }
    }
  }

  /// Places of the shards that a training was on: the first ones, where its
  /// specification names none.
  private static func trainedShards(_ specification: JSONValue, count: Int) -> [Int] {
    guard let named = specification["shards"] else { return Array(0..<count) }
    return named.elements.map { $0.count ?? -1 }
  }

  /// Digests that the specification of the training names.
  private var trainedOn: Set<ContentDigest> {
    let specification = JSONValue(parsing: trained.spec)
    let listed = ["images", "captions"].flatMap { specification?[$0]?.elements ?? [] }
    return Set(listed.compactMap { $0["sha256"]?.string.flatMap { ContentDigest(hex: $0) } })
  }
}

extension VersionPlan {
  /// The specification that a document's members come to.
  fileprivate static func spec(of document: VersionExport) -> String {
    spec(
      trained: document.trained.sha256, source: document.source,
      array: document.sources.first { $0.name == document.source }?.array, shards: document.inputs.map(\.ordinal),
      shardsPerOutput: document.shardsPerOutput, missing: document.missing, badRows: document.badRows,
      excluded: ExcludedRows.digest(document.inputs.map { ($0.sha256, $0.excluded ?? []) }))
  }
}
