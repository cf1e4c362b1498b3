// `verify`: what the catalog vouches for, read again; what is damaged, made whole
// where that can be.

internal import Base
internal import Catalog
package import Logging
internal import Synchronization

/// A file that is damaged or missing, and what became of it.
package struct VerifyFinding: Sendable {
  package let damage: Damage
  /// Nil when nothing was tried.
  package internal(set) var outcome: RepairOutcome?
  /// Whether it is of a shard that was dropped, which nobody fetches.
  package internal(set) var isOfDropped = false
  /// Whether commands alone make the shard.
  package internal(set) var isOfCommands = false
  /// Why it could not be replaced, and what can be done about that.
  package internal(set) var obstacle: TarnError?
}

/// Reads a lake's files again.
package struct VerifyRun: Sendable {
  private let catalog: LakeCatalog
  private let fetch: SyncOptions?
  private let expectations: [Expectation]
  private let logger: Logger
  private let cancellation: Cancellation
  private let follow: @Sendable (SyncProgress) -> Void

  /// Prepares to verify.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - fetch: How to fetch what is needed to bring back what can be brought back; nil to
  ///     read alone.
  ///   - expectations: Digests that were noted elsewhere.
  ///   - logger: Gets warnings: why a repair failed.
  ///   - cancellation: Asked often; what was found until then is given.
  ///   - follow: Told of what is fetched and who is waited for.
  package init(
    _ catalog: LakeCatalog, repairingWith fetch: SyncOptions?, expectations: [Expectation], logger: Logger,
    cancellation: Cancellation, follow: @escaping @Sendable (SyncProgress) -> Void = { _ in }
  ) {
    self.catalog = catalog
    self.fetch = fetch
    self.expectations = expectations
    self.logger = logger
    self.cancellation = cancellation
    self.follow = follow
  }

  /// Verifies, and repairs if asked to.
  ///
  /// - Parameters:
  ///   - budget: How much to read.
  ///   - report: Told of progress, on the working thread.
  /// - Returns: What was read, and each file that is not right.
  /// - Throws: ``TarnError``.
  package func run(
    _ budget: VerifyBudget, report: @escaping @Sendable (VerifyReport) -> Void
  ) async throws -> (report: VerifyReport, findings: [VerifyFinding]) {
    cancellation.listen()
    let (read, damages) = try await ThreadedWork("tarn-verify") { try look(budget, report) }.value()
    var findings = damages.map { VerifyFinding(damage: $0, outcome: nil) }
    guard let fetch else { return (read, findings) }
    // Shards first: outputs are made again from them.
    let (mended, missing) = try await ThreadedWork("tarn-mend") { [findings] in
      try mendShards(findings, fetch)
    }.value()
    findings = mended
    try await bring(missing, fetch, &findings)
    findings = try await ThreadedWork("tarn-mend") { [findings] in try mendOthers(findings) }.value()
    try await ThreadedWork("tarn-mend") { try relink(read.copies) }.value()
    return (read, findings)
  }

  /// Reads, and finds the damaged chunks; trained indexes first, as outputs are made
  /// again with them.
  private func look(
    _ budget: VerifyBudget, _ report: (VerifyReport) -> Void
  ) throws -> (VerifyReport, [Damage]) {
    let stops = { cancellation.isCancelled }
    let read = try catalog.verify(budget, isCancelled: stops) { _, done in report(done) }
    let unmet = try catalog.unmet(expectations)
    let trained = read.damages.filter { $0.file.kind == .artifact(.trainedIndex) }
    var found: [Damage] = []
    for var damage in trained + read.damages.filter({ $0.file.kind != .artifact(.trainedIndex) }) + unmet {
      do {
        if let (chunks, damaged) = try catalog.damagedChunks(of: damage, isCancelled: stops) {
          damage.chunks = chunks.text(damaged)
        }
      } catch let error as TarnError where error.code == .io {
        // One file that cannot be looked at closely keeps no other from being named.
        logger.warning("\(error)")
      }
      if stops() { break }
      found.append(damage)
    }
    return (read, found)
  }

  /// Mends shards by their chunks.
  ///
  /// Those that cannot be and on which nothing rests are given up. What could not be opened is left alone: it may be whole.
  ///
  /// - Returns: The findings, and those shards that are to be fetched whole, by their
  ///   finding: something rests on them, so their files stay until others are there.
  private func mendShards(
    _ findings: [VerifyFinding], _ fetch: SyncOptions
  ) throws -> (findings: [VerifyFinding], missing: [Int: [Shard]]) {
    var findings = findings
    var missing: [Int: [Shard]] = [:]
    let mender = ShardMender(
      catalog, configuration: fetch.fetch, waits: WaitOptions(fetch, report: follow), cancellation: cancellation)
    for (place, finding) in findings.enumerated() {
      guard case .shard(let id) = finding.damage.file.kind, !cancellation.isCancelled else { continue }
      if finding.damage.isUnreadable {
        findings[place].outcome = .kept
        continue
      }
      do {
        if finding.damage.chunks != nil, try mender.mend(catalog.shard(id: id)) != nil {
          findings[place].outcome = .restored
          continue
        }
      } catch let error as TarnError where error.code == .interrupted {
        break
      } catch let error as TarnError where error.code == .diskFull {
        // Nothing is given up for want of room.
        (findings[place].outcome, findings[place].obstacle) = (.kept, error)
        continue
      } catch let error as TarnError where error.isOfMirror || error.code == .io {
        logger.warning("\(error)")
      }
      let holders = try catalog.shards(holding: finding.damage.file.digest)
      findings[place].isOfDropped = holders.allSatisfy(\.isDropped)
      findings[place].isOfCommands = try catalog.locations(of: id).allSatisfy { CommandAddress.isOne($0.url) }
      let needed = try holders.filter { try !$0.isDropped && !catalog.dependents(of: $0).isEmpty }
      if needed.isEmpty {
        giveUp(&findings[place])
      } else {
        findings[place].outcome = .kept
        missing[place] = needed
      }
    }
    return (findings, missing)
  }

  /// Brings back or gives up by the catalog's means; what cannot be touched is told, and keeps
  /// nothing else from it.
  private func giveUp(_ finding: inout VerifyFinding) {
    do {
      finding.outcome = try catalog.repair(finding.damage)
    } catch {
      finding.outcome = .kept
      finding.obstacle = error as? TarnError ?? TarnError(.io, "\(error)")
    }
  }

  /// Fetches shards whole, with the bytes that they had and no others, each in the place of
  /// the damaged file only when it has come.
  private func bring(
    _ missing: [Int: [Shard]], _ fetch: SyncOptions, _ findings: inout [VerifyFinding]
  ) async throws {
    let wanted = try missing.sorted { $0.key < $1.key }.flatMap { try $0.value.map { try catalog.shard(id: $0.id) } }
    guard !wanted.isEmpty, !cancellation.isCancelled else { return }
    var options = fetch
    options.selection = wanted
    options.doubtsBytes = true
    for shard in wanted { options.digests[shard.id] = shard.revision?.digest }
    let seen = Mutex<(fetched: Set<Int64>, errors: [Int64: TarnError])>(([], [:]))
    let sync = SyncRun(catalog, options, cancellation: cancellation) { [logger, follow] event in
      switch event {
      case .failed(let shard, let error):
        logger.warning("\(shard.name): \(error)")
        seen.withLock { $0.errors[shard.id] = error }
      case .fetched(let shard, _): _ = seen.withLock { $0.fetched.insert(shard.id) }
      default: break
      }
      follow(event)
    }
    var general: TarnError?
    do {
      general = try await sync.run().noRoom
    } catch let error as TarnError {
      // What came is counted below, and the rest can still be brought back: on a full disk, too.
      if error.code != .interrupted { logger.warning("\(error)") }
      general = error
    }
    let (fetched, errors) = seen.withLock { $0 }
    for (place, shards) in missing {
      // Those of one finding have their bytes in one file.
      guard shards.contains(where: { fetched.contains($0.id) }) else {
        findings[place].obstacle = shards.lazy.compactMap { errors[$0.id] }.first ?? general
        continue
      }
      try catalog.recordRepair(findings[place].damage, .restored)
      findings[place].outcome = .restored
    }
  }

  /// Brings back what has another name from there, and what can be made again from what
  /// it is made of.
  private func mendOthers(_ findings: [VerifyFinding]) throws -> [VerifyFinding] {
    var findings = findings
    for (place, finding) in findings.enumerated() where finding.outcome == nil {
      if case .shard = finding.damage.file.kind { continue }
      if cancellation.isCancelled { break }
      if finding.damage.isUnreadable {
        findings[place].outcome = .kept
        continue
      }
      if case .keptRevision = finding.damage.file.kind, let reason = try obstacle(toGivingUp: finding.damage.file) {
        (findings[place].outcome, findings[place].obstacle) = (.kept, reason)
        continue
      }
      giveUp(&findings[place])
      var outcome = findings[place].outcome
      if outcome == .lost, try isMadeAgain(finding.damage.file) {
        try catalog.recordRepair(finding.damage, .restored)
        outcome = .restored
      }
      findings[place].outcome = outcome
    }
    return findings
  }

  /// Gives names that are copies the file of their artifact, so that the bytes take room once.
  private func relink(_ copies: [VouchedFile]) throws {
    for copy in copies {
      if cancellation.isCancelled { break }
      do {
        _ = try catalog.relink(copy: copy)
      } catch let error as TarnError where error.code == .io {
        // It is right where it is.
        logger.warning("\(error)")
      }
    }
  }

  /// Why bytes that a shard had before its newest are not given up; nil where nothing rests on them.
  ///
  /// Mirrors have given others since, so what is damaged may be the last there is of them.
  private func obstacle(toGivingUp file: VouchedFile) throws -> TarnError? {
    let kept = try catalog.keptRevisions().first { $0.digest == file.digest }
    guard let kept, !kept.dependents.isEmpty else { return nil }
    let dependents = LakeCatalog.list(kept.dependents)
    return TarnError(
      .integrity, "\(dependents) on what \(kept.shardName) of \(kept.sourceName) was before",
      hint: "\(dependents) on it, and `tarn import \(kept.sourceName) FILE --keep-old` takes a whole copy in, or "
        + "`tarn evict \(kept.sourceName) --old` gives it up")
  }

  private func isMadeAgain(_ file: VouchedFile) throws -> Bool {
    let maker = VersionRepair(catalog, cancellation: cancellation, logger: logger)
    switch file.kind {
    case .artifact(.outputShard), .artifact(.refineShard):
      do {
        return try maker.rebuildOutput(file.digest)
      } catch let error as TarnError where error.code != .interrupted {
        logger.warning("\(error)")
        return false
      }
    case .artifact(.trainedIndex):
      do {
        return try TrainedIndexRecovery(catalog, cancellation: cancellation, logger: logger).restore(file.digest)
      } catch let error as TarnError where error.code != .interrupted {
        logger.warning("\(error)")
        return false
      }
    case .lockFile: return try maker.rewriteLockFile(of: VersionName(parsing: file.name))
    case .document(let name): return try maker.rewriteDocument(of: name)
    default: return false
    }
  }
}
