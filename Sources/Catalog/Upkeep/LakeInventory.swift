// The files of a lake against the rows of its catalog: rows whose file is gone
// or has another size, files that no row names, and what runs left lying.

internal import Base
internal import Foundation
internal import GRDB

/// A look through a lake's directories.
struct LakeInventory {
  let examination: LakeExamination
  private var layout: LakeLayout { examination.layout }
  private var catalog: LakeCatalog { examination.catalog }

  init(examination: LakeExamination) { self.examination = examination }

  /// What the files say.
  func findings() throws -> [Finding] {
    // Rows before files: a file that a writer adds meanwhile is at worst one
    // that no row names yet.
    let strangers = try catalog.strangers()
    let shards = try shardFindings(strangers)
    let artifacts = try artifactFindings(strangers)
    let versions = try versionFindings()
    return shards + artifacts + versions + strangerFindings(strangers) + scratchFindings()
  }

  // MARK: Versions that the catalog does not know

  private func strangerFindings(_ strangers: [StrangerVersion]) -> [Finding] {
    examination.capped(
      strangers.map { Finding(.problem, "strangers", $0.message, fix: $0.hint) },
      else: Finding(.ok, "strangers", "the catalog knows every version that is here"))
  }

  /// A finding for a file that a version needs which the catalog does not know.
  private func claimed(_ path: String, by strangers: [StrangerVersion], in place: Place) -> Finding? {
    guard !strangers.isEmpty else { return nil }
    let prefix: String? =
      switch place {
      case .shards: LakeLayout.digestPrefix(ofShardPath: path)
      case .artifacts: LakeLayout.artifact(atPath: path)?.digest.hex
      }
    guard let prefix, let owner = strangers.first(where: { $0.digests.contains { $0.hex.hasPrefix(prefix) } }) else {
      return nil
    }
    return Finding(
      .warning, "strangers", "\(layout.path(path, in: place)) is of \(owner.name), which the catalog does not know",
      fix: owner.hint)
  }

  // MARK: Rows without files

  private func shardFindings(_ strangers: [StrangerVersion]) throws -> [Finding] {
    let rows = try catalog.read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT s.name AS source, h.name AS shard, h.ordinal AS ordinal, b.path AS path, h.state AS state,
            r.byte_count AS bytes FROM shard h JOIN source s ON s.id = h.source_id
          LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
          LEFT JOIN stored_bytes b ON h.state IN ('present', 'evicting') AND b.sha256 = r.sha256 AND b.place = 'shards'
          """)
    }
    let known = try catalog.read { try LakeCatalog.storedPaths(in: .shards, $0) }
    let sources = Set(try catalog.sources().map(\.name))
    var parts: [String: String] = [:]
    var faults: [Finding] = []
    var heldCount = 0
    for row in rows {
      let source: String = row["source"]
      let shard: String = row["shard"]
      parts["\(source)/\(shard).part"] = source
      guard let path: String = row["path"], let byteCount: Int = row["bytes"] else { continue }
      guard row["state"] == "present" else { continue }
      heldCount += 1
      guard let fault = fault(layout.path(path, in: .shards), byteCount) else { continue }
      faults.append(
        Finding(
          .problem, "shards", "the shard \(source)/\(shard) \(fault)",
          fix: "`tarn sync \(source) --shards \(row["ordinal"] as Int)`"))
    }
    for kept in try catalog.keptRevisions() {
      heldCount += 1
      guard let fault = fault(layout.path(kept.path, in: .shards), kept.byteCount) else { continue }
      faults.append(
        Finding(
          .problem, "shards", "revision \(kept.number) of \(kept.sourceName)/\(kept.shardName) \(fault)",
          fix: "`tarn verify --repair` gives it up; `tarn import \(kept.sourceName) FILE --keep-old` takes a copy in"))
    }
    return examination.capped(faults, else: Finding(.ok, "shards", "shards held, all in place: \(heldCount)"))
      + strayFindings(in: layout.shards, "shards", known: known) { path in
        var part = path.hasSuffix(".resume") ? String(path.dropLast(7)) : path
        // What a command left is below a directory that is named by the part.
        if let staging = path.range(of: ".part\(CommandStaging.ending)/") {
          part = path[..<staging.lowerBound] + ".part"
        }
        guard let source = parts[part] else {
          return claimed(path, by: strangers, in: .shards) ?? unregistered(path, sources)
        }
        return Finding(
          .note, "partial", "\(path) is a part of a download", fix: "`tarn sync \(source)` continues it")
      }
  }

  private func artifactFindings(_ strangers: [StrangerVersion]) throws -> [Finding] {
    let rows = try catalog.read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT a.kind AS kind, a.path AS path, a.byte_count AS bytes, a.sha256 AS sha256, a.state AS state,
            (SELECT s.name FROM output_shard o JOIN index_version v ON v.id = o.version_id
              JOIN source s ON s.id = v.source_id AND s.modality <> 'index'
              WHERE o.sha256 = a.sha256 OR o.refine_sha256 = a.sha256 LIMIT 1) AS source
          FROM stored_bytes a WHERE a.state <> 'deleted' AND a.place = 'artifacts'
          """)
    }
    var known: Set<String> = []
    var faults: [Finding] = []
    for row in rows {
      let path: String = row["path"]
      known.insert(path)
      guard row["state"] == "present" else { continue }
      let whole = layout.path(path, in: .artifacts)
      guard let fault = fault(whole, row["bytes"]) else { continue }
      let kind: StoredKind = try row.named("kind")
      faults.append(
        Finding(
          .problem, "artifacts", "the \(kind.rawValue) \((row["sha256"] as String).prefix(12)) \(fault)",
          fix: try remedy(kind, row.requiredDigest("sha256"), whole, source: row["source"])))
    }
    return examination.capped(
      faults, else: Finding(.ok, "artifacts", "artifacts, all in place: \(known.count)"))
      + strayFindings(in: layout.artifacts, "artifacts", known: known) { path in
        guard path.hasPrefix(".work/") else { return claimed(path, by: strangers, in: .artifacts) }
        return Finding(
          .note, "work", "\(path) is work that was not finished",
          fix: "the interrupted command, run again, replaces it; else delete \(layout.path(path, in: .artifacts))")
      }
  }

  private func remedy(_ kind: StoredKind, _ digest: ContentDigest, _ path: String, source: String?) throws -> String {
    // What it is made of may be gone, too.
    let inputs = source.map { "`tarn sync \($0)` fetches shards for that; " } ?? ""
    switch kind {
    case .shard, .segment, .nearestImages, .routerLabels, .evaluationTruth, .pack:
      return Disk.size(of: path) == nil
        ? "the next command that needs it makes it again"
        : "delete \(path); the next command that needs it makes it again"
    case .trainedIndex: return "`tarn verify --repair` takes it from an output of a version, or trains it again"
    case .refineShard, .outputShard:
      return "`tarn verify --repair` brings it back where the lake has what it is of; \(inputs)else "
        + (try catalog.wayBack(toOutput: digest))
    }
  }

  /// What to say of the files of a source that the catalog does not know, said once for all of them: no version tells
  /// of companions, so that a catalog that was made again has none.
  private func unregistered(_ path: String, _ sources: Set<String>) -> Finding? {
    let parts = path.split(separator: "/")
    guard parts.count > 1, !sources.contains(String(parts[0])), !LakeInventory.isTemporary(path) else { return nil }
    let (name, directory) = (parts[0], layout.path(String(parts[0]), in: .shards))
    return Finding(
      .warning, "unknown",
      "\(directory) has files of a source that the catalog does not know, as of a companion from before a rebuild",
      fix: "register it again with `tarn source add \(name)` (--companion-of SOURCE where it stands beside rows) and "
        + "run `tarn sync \(name)`: files with the same bytes are known then; or delete \(directory)")
  }

  /// What is wrong with a file of which the catalog knows the size.
  private func fault(_ path: String, _ byteCount: Int) -> String? {
    guard let size = Disk.size(of: path) else { return "is not at \(path)" }
    return size == byteCount ? nil : "has \(size) bytes where the catalog says \(byteCount): \(path)"
  }

  // MARK: Files without rows

  /// The files of a directory that no row names.
  ///
  /// - Parameters:
  ///   - directory: Where to look, absolute.
  ///   - check: The check's name.
  ///   - known: Files that rows name, relative to the directory.
  ///   - explain: A finding for a file with a reason; nil for one without.
  /// - Returns: A finding for each such file, or one that says there is none.
  private func strayFindings(
    in directory: String, _ check: String, known: Set<String>, explain: (String) -> Finding?
  ) -> [Finding] {
    guard let files = files(below: directory) else {
      return [
        Finding(
          .problem, check, "\(directory) is not a directory that can be read",
          fix: "mount the volume it is on, or make it if it was empty")
      ]
    }
    var explained: [Finding] = []
    var strays: [Finding] = []
    for path in files where !known.contains(path) {
      let whole = "\(directory)/\(path)"
      if let finding = explain(path) {
        if explained.last != finding { explained.append(finding) }
      } else if LakeInventory.isTemporary(path) {
        explained.append(
          Finding(.note, "leftover", "\(path) was being written when a run ended", fix: "delete \(whole)"))
      } else {
        strays.append(
          Finding(
            .warning, "unknown", "no row of the catalog names \(whole)",
            fix: "run the interrupted command again, or delete it"))
      }
    }
    return examination.capped(
      strays, else: Finding(.ok, "unknown", "every file below \(directory) is known"))
      + (explained.isEmpty ? [] : examination.capped(explained, else: explained[0]))
  }

  /// Every file below a directory, relative to it, in order; nil when the
  /// directory cannot be read.
  private func files(below directory: String) -> [String]? {
    guard let names = try? FileManager.default.subpathsOfDirectory(atPath: directory) else { return nil }
    return names.filter { $0 != OwnerMark.fileName && Disk.size(of: "\(directory)/\($0)") != nil }.sorted()
  }

  /// Whether a name is one that whole files never have.
  static func isTemporary(_ path: String) -> Bool {
    path.hasSuffix(".tmp") || path.hasSuffix(".link")
  }

  // MARK: Versions and scratch

  /// The names people use.
  private func versionFindings() throws -> [Finding] {
    var faults: [Finding] = []
    var parted: [LakeCatalog.OutputName] = []
    var sealedCount = 0
    for version in try catalog.versions() where version.state == .sealed || version.state == .revoked {
      sealedCount += 1
      if version.state == .sealed, let revocation = VersionMark(.revoked, of: version.name, in: layout) {
        faults.append(
          Finding(
            .warning, "versions",
            "\(version.name) was revoked at \(revocation.at), which this catalog does not know: it is older, or was put back",
            fix: "`tarn revoke \(version.name) --reason TEXT` revokes it again, or remove "
              + "\(layout.markPath(.revoked, version.name)) where it was not"))
      }
      let isPinned = try catalog.isPinned(version)
      if !isPinned, let pin = VersionMark(.pinned, of: version.name, in: layout) {
        faults.append(
          Finding(
            .warning, "versions",
            "\(version.name) was pinned at \(pin.at), which this catalog does not know: it is older, or was put back",
            fix:
              "`tarn pin \(version.name)` keeps its files from `tarn gc` again, `tarn unpin \(version.name)` lets them go"
          ))
      }
      // The names of a revoked version may have been collected, though another has the same outputs.
      let keepsNames = version.state == .sealed || isPinned
      for output in try catalog.outputs(of: version) where try keepsNames && catalog.artifact(output.digest) != nil {
        for name in catalog.names(of: output, in: version.name) {
          guard Disk.size(of: name.path) != name.byteCount else {
            // `verify` links those of sealed versions again, and no others.
            if try version.state == .sealed && isParted(name) { parted.append(name) }
            continue
          }
          let what = name.kind == .outputShard ? "output" : "file that refines output"
          faults.append(
            Finding(
              .warning, "versions", "\(version.name) has no \(what) \(output.ordinal) under \(name.path)",
              fix: version.state == .revoked
                ? "`tarn pin \(version.name)` gives it back" : "run its `tarn build` again"))
        }
      }
    }
    let explained = (files(below: layout.versions) ?? []).filter(LakeInventory.isTemporary).map { path in
      Finding(
        .note, "leftover", "\(path) was being written when a run ended", fix: "delete \(layout.versions)/\(path)")
    }
    let fine = Finding(.ok, "versions", "sealed versions, all with their outputs: \(sealedCount)")
    return examination.capped(faults, else: fine) + partedFindings(parted)
      + (explained.isEmpty ? [] : examination.capped(explained, else: explained[0]))
  }

  /// Whether a name that is there leads to another file than its artifact's, which is there, too.
  private func isParted(_ name: LakeCatalog.OutputName) throws -> Bool {
    let artifact = try catalog.path(of: name.kind, name.digest)
    return !FileIdentity.isSame(name.path, artifact) && Disk.size(of: artifact) == name.byteCount
  }

  /// What to say of names of outputs that are no links to the files of their artifacts any more.
  private func partedFindings(_ names: [LakeCatalog.OutputName]) -> [Finding] {
    guard !names.isEmpty else { return [] }
    // Names may be links to each other.
    let files = Dictionary(names.map { (Disk.identity(of: $0.path), $0.byteCount) }, uniquingKeysWith: { $1 })
    return [
      Finding(
        .note, "copies",
        "\(names.count.counted("name")) of outputs in \(layout.versions) beside the files in \(layout.artifacts) that they "
          + "should be links to: \(ByteSize.text(files.values.reduce(0, +))) are on the disk a second time",
        fix: "`tarn verify --repair`, which reads all that the catalog vouches for, links them again")
    ]
  }

  private func scratchFindings() -> [Finding] {
    let files = LakeCatalog.files(below: layout.scratch)
    guard !files.isEmpty else { return [Finding(.ok, "scratch", "scratch is empty")] }
    let byteCount = LakeCatalog.byteCount(below: layout.scratch)
    return [
      Finding(
        .note, "scratch",
        "\(files.count.counted("file")) of unfinished work, \(ByteSize.text(byteCount)), are in \(layout.scratch)",
        fix: "run the interrupted commands again; what none will take up goes with `tarn gc --apply`")
    ]
  }
}
