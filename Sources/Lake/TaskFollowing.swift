// `build --executor`: plan, submit, take results in as they come, submit again what
// failed, seal. Receipts are the state: a run that is stopped anywhere is gone on with
// by the same command, which finds plan, jobs and receipts.

package import Base
internal import Catalog
package import Tasks

/// How often a task is handed to an engine, and how long it may be out of sight.
package struct FollowPolicy: Sendable {
  /// Times that a task is submitted at most by one run.
  package var attempts = 3
  /// Between two looks.
  package var interval = Duration.seconds(2)
  /// Looks in a row at which a task is nowhere before it counts as failed: what another
  /// machine wrote is seen a while later on a network file system.
  package var looksUntilLost = 3
  /// Exit statuses of a worker that another try would meet again.
  package var finalStatuses: Set<Int> = [20, 21, 64]

  package init() {}

  /// How tasks in a directory are followed: on a file system that another machine serves,
  /// this one may see names as they were a minute ago.
  package init(of directory: TaskDirectory) {
    let type = LakeSurroundings.current.fileSystemType(of: directory.path)
    if type.map(LakeSurroundings.isNetwork) ?? false { looksUntilLost = 30 }
  }

  /// What is to be done about a task that has no receipt.
  package enum Verdict: Sendable, Equatable {
    case wait, submit, giveUp
  }

  /// Decides it; pure.
  ///
  /// - Parameters:
  ///   - isOut: Whether the engine has it; nil where the engine did not answer.
  ///   - wasOut: Whether the engine was ever handed it.
  ///   - looks: Looks in a row at which it was nowhere.
  ///   - submissions: How often this run submitted it.
  ///   - status: Exit status that its last worker left word of; nil for none.
  /// - Returns: What is to be done.
  package func verdict(isOut: Bool?, wasOut: Bool, looks: Int, submissions: Int, status: Int?) -> Verdict {
    guard isOut == false else { return .wait }
    // What an earlier run submitted may have ended just now; what ended it then is no
    // reason not to try it again.
    guard submissions > 0 else { return wasOut && looks < looksUntilLost ? .wait : .submit }
    if let status, finalStatuses.contains(status) { return .giveUp }
    // Who left word is gone; whose receipt is on its way may be.
    guard status != nil || looks >= looksUntilLost else { return .wait }
    return submissions < attempts ? .submit : .giveUp
  }
}

/// What is told while tasks are followed.
package enum FollowProgress: Sendable {
  case standing(done: Int, running: Int, queued: Int, of: Int)
  case submitted([Int], isAgain: Bool)
  case gaveUp(task: Int, failure: TaskFailure?)
  case ingest(IngestProgress)
  case silent
}

/// Follows the tasks of a plan until its version is sealed.
package final class TaskFollowing {
  private let directory: TaskDirectory
  private let engine: any TaskEngine
  private let ingest: TaskIngest
  private let policy: FollowPolicy
  private let cancellation: Cancellation
  private let report: @Sendable (FollowProgress) -> Void

  /// Prepares to follow.
  ///
  /// - Parameters:
  ///   - directory: Where tasks, receipts and results lie.
  ///   - engine: Carries them out.
  ///   - ingest: Takes results in.
  ///   - policy: When what is submitted again; by the directory's file system if nil.
  ///   - cancellation: Lets go of the tasks.
  ///   - report: Told of progress.
  package init(
    _ directory: TaskDirectory, on engine: any TaskEngine, _ ingest: TaskIngest, policy: FollowPolicy? = nil,
    cancellation: Cancellation, report: @escaping @Sendable (FollowProgress) -> Void
  ) {
    self.directory = directory
    self.engine = engine
    self.ingest = ingest
    self.policy = policy ?? FollowPolicy(of: directory)
    self.cancellation = cancellation
    self.report = report
  }

  /// Follows the tasks to their end.
  ///
  /// - Returns: What all passes together did; the version is sealed, or tasks were given up.
  /// - Throws: ``TarnError``; `.interrupted` once the engine was let go.
  package func run() throws -> IngestSummary {
    do {
      return try follow()
    } catch {
      let left = engine.detach()
      guard let error = error as? TarnError, error.code == .interrupted else { throw error }
      throw TarnError(.interrupted, error.message, hint: left)
    }
  }

  private func follow() throws -> IngestSummary {
    var submissions: [Int: Int] = [:]
    var looks: [Int: Int] = [:]
    var givenUp: Set<Int> = []
    var total: IngestSummary?
    var names: [Int: [String]]?
    while true {
      try cancellation.check()
      // Asked before the receipts are looked at: what it does not have then is done, or not.
      let standing = try engine.standing()
      let now = try directory.receiptNames()
      if now != names {
        let pass = try ingest.run()
        total = total.map { $0.followed(by: pass) } ?? pass
        // Not what is there after it: that may have come too late for it.
        names = now
      }
      guard let summary = total, !summary.isSealed else { break }
      let open = summary.open.map(\.task)
      if !standing.isKnown { report(.silent) }
      var toSubmit: [Int] = []
      for task in open where !givenUp.contains(task) {
        let isOut: Bool? = standing.has(task) ? true : standing.isKnown ? false : nil
        looks[task] = isOut == false ? looks[task, default: 0] + 1 : 0
        let failure = submissions[task] == nil ? nil : directory.failure(of: task)
        switch policy.verdict(
          isOut: isOut, wasOut: standing.submitted.contains(task), looks: looks[task, default: 0],
          submissions: submissions[task, default: 0], status: failure?.status)
        {
        case .wait: break
        case .submit: toSubmit.append(task)
        case .giveUp:
          givenUp.insert(task)
          report(.gaveUp(task: task, failure: failure))
        }
      }
      if !toSubmit.isEmpty {
        for task in toSubmit { try Disk.remove(directory.failurePath(task)) }
        do {
          try engine.submit(toSubmit)
          report(.submitted(toSubmit, isAgain: toSubmit.contains { submissions[$0] != nil }))
          for task in toSubmit {
            submissions[task, default: 0] += 1
            looks[task] = 0
          }
        } catch let error as TarnError where error.code == .temporary {
          // What it took of them it has; the others are submitted at the next look.
          report(.silent)
        }
      }
      report(
        .standing(
          done: summary.taskCount - open.count, running: standing.running.count, queued: standing.queued.count,
          of: summary.taskCount))
      if !open.isEmpty, open.allSatisfy(givenUp.contains) { break }
      try cancellation.sleep(for: policy.interval)
    }
    guard var summary = total else { preconditionFailure("the first pass is always made") }
    summary.open = summary.open.map { ($0.task, directory.failure(of: $0.task)) }
    return summary
  }
}

extension IngestSummary {
  /// What two passes did together; what is open is the second's to say.
  func followed(by pass: IngestSummary) -> IngestSummary {
    var both = pass
    both.recorded = (recorded + pass.recorded).sorted()
    both.rechecks = rechecks + pass.rechecks
    both.refused = refused + pass.refused
    return both
  }
}
