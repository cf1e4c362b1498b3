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
  /// Looks in a row at which a task is nowhere before it counts as failed: what another
  /// machine wrote is seen a while later on a network file system.
  package var looksUntilLost = 3

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
    if let status, TaskFailure.finalStatuses.contains(status) { return .giveUp }
    // Who left word is gone; whose receipt is on its way may be.
    guard status != nil || looks >= looksUntilLost else { return .wait }
    return submissions < attempts ? .submit : .giveUp
  }
}

/// What is told while tasks are followed.
package enum FollowProgress: Sendable {
  case standing(done: Int, running: Int, queued: Int, of: Int)
  /// Why some of them failed before, of those submitted again.
  case submitted([Int], isAgain: Bool, because: TaskFailure? = nil)
  case gaveUp(task: Int, failure: TaskFailure?)
  /// Tasks that do not start by themselves, and why one of them that was not told before does not.
  case held([Int], HeldTask)
  case ingest(IngestProgress)
  /// A search of a training begins.
  case round(String)
  case silent
}

/// Follows tasks until they are done or given up.
package final class TaskFollowing {
  /// What one look at the receipts says.
  package struct Look {
    /// Tasks without a receipt that holds.
    let open: [Int]
    let taskCount: Int
  }

  private let directory: TaskDirectory
  private let engine: any TaskEngine
  private let policy: FollowPolicy
  private let cancellation: Cancellation
  private let report: @Sendable (FollowProgress) -> Void

  /// Prepares to follow.
  ///
  /// - Parameters:
  ///   - directory: Where tasks, receipts and results lie.
  ///   - engine: Carries them out.
  ///   - policy: When what is submitted again; by the directory's file system if nil.
  ///   - cancellation: Lets go of the tasks.
  ///   - report: Told of progress.
  package init(
    _ directory: TaskDirectory, on engine: any TaskEngine, policy: FollowPolicy? = nil,
    cancellation: Cancellation, report: @escaping @Sendable (FollowProgress) -> Void
  ) {
    self.directory = directory
    self.engine = engine
    self.policy = policy ?? FollowPolicy(of: directory)
    self.cancellation = cancellation
    self.report = report
  }

  /// Follows the tasks to their end.
  ///
  /// - Parameter look: Takes in what is there and says what is open; called first, and
  ///   whenever receipts have come.
  /// - Throws: ``TarnError``; `.interrupted` once the engine was let go.
  package func run(_ look: () throws -> Look) throws {
    do {
      try follow(look)
    } catch {
      let left = engine.detach()
      guard let error = error as? TarnError, error.code == .interrupted else { throw error }
      throw TarnError(.interrupted, error.message, hint: left)
    }
  }

  private func follow(_ look: () throws -> Look) throws {
    var submissions: [Int: Int] = [:]
    var looks: [Int: Int] = [:]
    var givenUp: Set<Int> = []
    var held: Set<Int> = []
    var names: [Int: [String]]?
    var seen = Look(open: [], taskCount: 0)
    while true {
      try cancellation.check()
      // Asked before the receipts are looked at: what it does not have then is done, or not.
      let standing = try engine.standing()
      let now = try directory.receiptNames()
      if now != names {
        seen = try look()
        // Not what is there after it: that may have come too late for it.
        names = now
      }
      guard !seen.open.isEmpty, !seen.open.allSatisfy(givenUp.contains) else { return }
      if !standing.isKnown { report(.silent) }
      let stuck = standing.held.filter { seen.open.contains($0.key) }
      if let new = stuck.keys.filter({ !held.contains($0) }).min(), let why = stuck[new] {
        report(.held(stuck.keys.sorted(), why))
      }
      held = Set(stuck.keys)
      let failed = submissions.isEmpty ? [] : try directory.failedTasks()
      var toSubmit: [Int] = []
      var reason: TaskFailure?
      for task in seen.open where !givenUp.contains(task) {
        let isOut: Bool? = standing.has(task) ? true : standing.isKnown ? false : nil
        looks[task] = isOut == false ? looks[task, default: 0] + 1 : 0
        let failure = submissions[task] != nil && failed.contains(task) ? directory.failure(of: task) : nil
        switch policy.verdict(
          isOut: isOut, wasOut: standing.submitted.contains(task), looks: looks[task, default: 0],
          submissions: submissions[task, default: 0], status: failure?.status)
        {
        case .wait: break
        case .submit:
          toSubmit.append(task)
          reason = reason ?? failure
        case .giveUp:
          givenUp.insert(task)
          report(.gaveUp(task: task, failure: failure))
        }
      }
      if !toSubmit.isEmpty {
        for task in toSubmit { try directory.forgetFailure(of: task) }
        do {
          try engine.submit(toSubmit)
          report(.submitted(toSubmit, isAgain: toSubmit.contains { submissions[$0] != nil }, because: reason))
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
          done: seen.taskCount - seen.open.count, running: standing.running.count, queued: standing.queued.count,
          of: seen.taskCount))
      // A store is not listed as often as a directory is.
      try cancellation.sleep(for: directory.resultsPlace == nil ? engine.interval : max(engine.interval, .seconds(2)))
    }
  }
}

extension TaskIngest {
  /// Has an engine make what is missing, and takes it in as it comes.
  ///
  /// - Parameter following: Follows the tasks.
  /// - Returns: What all passes together did; the version is sealed, or tasks were given up.
  /// - Throws: ``TarnError``.
  package func follow(_ following: TaskFollowing) throws -> IngestSummary {
    var total: IngestSummary?
    try following.run {
      let pass = try run()
      total = total.map { $0.followed(by: pass) } ?? pass
      return TaskFollowing.Look(open: pass.open.map(\.task), taskCount: pass.taskCount)
    }
    guard let summary = total else { preconditionFailure("the first look is always taken") }
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
    both.leftOut = leftOut + pass.leftOut
    return both
  }
}

/// A training whose searches an engine makes, round by round.
package struct TrainingFollowing: Sendable {
  private let training: TrainingRun
  private let directory: TaskDirectory
  private let engine: any TaskEngine
  private let cancellation: Cancellation
  private let report: @Sendable (FollowProgress) -> Void

  /// Prepares to train.
  ///
  /// - Parameters:
  ///   - training: The training, with its rounds.
  ///   - directory: Where their tasks lie.
  ///   - engine: Carries them out.
  ///   - cancellation: Lets go of the tasks.
  ///   - report: Told of progress.
  package init(
    _ training: TrainingRun, _ directory: TaskDirectory, on engine: any TaskEngine, cancellation: Cancellation,
    report: @escaping @Sendable (FollowProgress) -> Void
  ) {
    self.training = training
    self.directory = directory
    self.engine = engine
    self.cancellation = cancellation
    self.report = report
  }

  /// Trains, as ``TrainingRun/run(fetching:follow:)``.
  ///
  /// - Throws: ``TarnError``; `.inputsMissing` where tasks were given up.
  package func run(
    fetching fetch: SyncOptions?, follow: @escaping @Sendable (SyncProgress) -> Void
  ) async throws -> (trained: TrainedIndexRecord, isNew: Bool) {
    // What each look at a task's results came to, beside the tries of a task that leaves none.
    var refusals: [Int: Int] = [:]
    while true {
      do {
        return try await training.run(fetching: fetch, follow: follow)
      } catch let round as RoundNeeded {
        for refusal in round.refused { report(.ingest(.refused(refusal))) }
        // Of a task that is open: what lies beside a good result is nobody's trouble.
        let lies = round.refused.filter { round.tasks.contains($0.task) }
        for task in Set(lies.map(\.task)) { refusals[task, default: 0] += 1 }
        if let last = lies.last(where: { refusals[$0.task, default: 0] >= FollowPolicy().attempts }) {
          throw TarnError(
            .integrity,
            "results of task \(last.task) of '\(round.step)' were refused \(FollowPolicy().attempts) times: \(last.reason)",
            hint: "\(directory.logs) says which machine made them; mend it, then run the same command")
        }
        report(.round(round.step))
        let left = try await ThreadedWork("tarn-follow") { try self.open(of: round) }.value()
        guard left.isEmpty else {
          throw TarnError(
            .inputsMissing, "\(left.count.counted("task")) of '\(round.step)' were given up",
            hint: "\(directory.logs) says why; the same command tries again")
        }
      }
    }
  }

  /// Follows a round.
  ///
  /// - Returns: Tasks that were given up.
  private func open(of round: RoundNeeded) throws -> [Int] {
    let plan = try directory.plan()
    let wanted = Set(round.tasks)
    var open = round.tasks
    let memory = TaskMemory()
    try TaskFollowing(directory, on: engine, cancellation: cancellation, report: report).run {
      open = try directory.openTasks(of: plan, among: wanted, remembering: memory).map(\.task)
      return TaskFollowing.Look(open: open, taskCount: wanted.count)
    }
    return open
  }
}
