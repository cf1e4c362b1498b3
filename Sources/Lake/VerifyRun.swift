// `verify`: what the catalog vouches for, read again; what is damaged, made whole
// where that can be.

internal import Base
internal import Catalog
package import Logging

/// A file that is damaged or missing, and what became of it.
package struct VerifyFinding: Sendable {
  package let damage: Damage
  /// Nil when nothing was tried.
  package let outcome: RepairOutcome?
}

/// Reads a lake's files again.
package struct VerifyRun {
  private let catalog: LakeCatalog
  private let repairs: Bool
  private let expectations: [Expectation]
  private let logger: Logger
  private let cancellation: Cancellation

  /// Prepares to verify.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - repairs: Whether to bring back what can be brought back.
  ///   - expectations: Digests that were noted elsewhere.
  ///   - logger: Gets warnings: why a repair failed.
  ///   - cancellation: Asked often; what was found until then is given.
  package init(
    _ catalog: LakeCatalog, repairs: Bool, expectations: [Expectation], logger: Logger, cancellation: Cancellation
  ) {
    self.catalog = catalog
    self.repairs = repairs
    self.expectations = expectations
    self.logger = logger
    self.cancellation = cancellation
  }

  /// Verifies, and repairs if asked to.
  ///
  /// - Parameters:
  ///   - budget: How much to read.
  ///   - report: Told of progress, on the calling thread.
  /// - Returns: What was read, and each file that is not right.
  /// - Throws: ``TarnError``.
  package func run(
    _ budget: VerifyBudget, report: (VerifyReport) -> Void
  ) throws -> (report: VerifyReport, findings: [VerifyFinding]) {
    cancellation.listen()
    let stops = { cancellation.isCancelled }
    let read = try catalog.verify(budget, isCancelled: stops) { _, done in report(done) }
    let unmet = try catalog.unmet(expectations)
    var findings: [VerifyFinding] = []
    // Trained indexes first: outputs are made again with them.
    let trained = read.damages.filter { $0.file.kind == .artifact(.trainedIndex) }
    for var damage in trained + read.damages.filter({ $0.file.kind != .artifact(.trainedIndex) }) + unmet {
      if let (chunks, damaged) = try catalog.damagedChunks(of: damage, isCancelled: stops) {
        damage.chunks = chunks.text(damaged)
      }
      if stops() { break }
      findings.append(VerifyFinding(damage: damage, outcome: repairs ? try mend(damage) : nil))
    }
    return (read, findings)
  }

  /// Brings a file back: a shard by its chunks, what has another name from
  /// there, what can be made again from what it is made of.
  private func mend(_ damage: Damage) throws -> RepairOutcome {
    if case .shard(let id) = damage.file.kind, damage.chunks != nil {
      do {
        let mender = ShardMender(catalog, configuration: .ofTool, cancellation: cancellation)
        if try mender.mend(catalog.shard(id: id)) != nil { return .restored }
      } catch let error as TarnError where error.isOfMirror {
        logger.warning("\(error)")
      }
    }
    let outcome = try catalog.repair(damage)
    guard outcome == .lost else { return outcome }
    guard try isMadeAgain(damage.file) else { return .lost }
    try catalog.recordRepair(damage, .restored)
    return .restored
  }

  private func isMadeAgain(_ file: VouchedFile) throws -> Bool {
    let maker = VersionRepair(catalog, cancellation: cancellation, logger: logger)
    switch file.kind {
    case .artifact(.outputShard):
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
