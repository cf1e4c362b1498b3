// The process killed, or the disk full or broken, before each durable step of
// sync, train, build and gc; then the same command again, which must end with the
// bytes and rows of a run that nothing disturbed. As SQLite's own tests do.

import Catalog
import Foundation
import TestSupport
import Testing

/// What happens at a step.
enum StepFault: String, CaseIterable, CustomTestStringConvertible {
  case kill = "kill@"
  case fullDisk = "ENOSPC@"
  case brokenDisk = "EIO@"
  case fullDiskFromThereOn = "ENOSPC@+"

  /// The text of `TARN_FAULT` for a step.
  func plan(step: Int) -> String {
    let plus = rawValue.hasSuffix("+")
    return (plus ? String(rawValue.dropLast()) : rawValue) + "\(step)" + (plus ? "+" : "")
  }

  /// How the command may end that met the fault; a single failure that it could
  /// do without may go unnoticed.
  func allows(_ ending: ProcessResult.Ending) -> Bool {
    switch self {
    case .kill: ending == .signal(SIGKILL)
    case .fullDisk: [.exit(28), .exit(0)].contains(ending)
    case .fullDiskFromThereOn: ending == .exit(28)
    // 1 failure, 3 some shards failed.
    case .brokenDisk: [.exit(1), .exit(3), .exit(0)].contains(ending)
    }
  }

  var testDescription: String { plan(step: 1).replacing("1", with: "N") }
}

/// A command that is disturbed.
enum DisturbedCommand: String, CaseIterable, CustomTestStringConvertible {
  case sync, train, build
  /// A build whose shards are not in the lake and fetched meanwhile.
  case fetchingBuild = "build that fetches"
  /// A training that goes on to refine its lists and to train a router.
  case routedTrain = "train with a router"
  /// The removal of a revoked version's files.
  case gc

  private var stage: LakeStage {
    switch self {
    case .sync: .synced
    case .train, .routedTrain: .trained
    case .build, .fetchingBuild, .gc: .built
    }
  }

  /// The lake before the command.
  func lake() throws -> LakeFixture {
    if self == .gc {
      let lake = try LakeFixture.make(.built)
      try lake.succeed(["revoke", "v@1", "--reason", "no longer wanted"])
      return lake
    }
    let lake = try LakeFixture.make(try #require(LakeStage(rawValue: stage.rawValue - 1)))
    if self == .fetchingBuild { try lake.evictImages() }
    return lake
  }

  func arguments() throws -> [String] {
    if self == .gc { return ["gc", "--apply", "--segments", "--grace", "0s", "--quiet"] }
    let training = try #require(stage.arguments(LakeFixture.sources()).first)
    if self == .routedTrain { return training + ["--router", "learned", "--router-epochs", "2", "--refinements", "2"] }
    return try #require(stage.arguments(LakeFixture.sources()).first)
  }

  var testDescription: String { rawValue }
}

@Suite(.tags(.slow)) struct CrashLoopTests {
  /// More steps than any of these commands has.
  private static let stepLimit = 1000

  @Test(arguments: DisturbedCommand.allCases, StepFault.allCases)
  func endsWithTheSameBytesWhateverStepFails(command: DisturbedCommand, fault: StepFault) throws {
    let before = try command.lake()
    let arguments = try command.arguments()
    let undisturbed = try before.copy()
    try undisturbed.succeed(arguments)
    let expected = try undisturbed.contents(lasting: true)
    var violations: [String] = []
    var step = 0
    while step < Self.stepLimit {
      let lake = try before.copy()
      let log = lake.directory.path + "/steps"
      let plan = fault.plan(step: step + 1)
      let faulty = try lake.run(arguments, environment: ["TARN_FAULT": plan, "TARN_FAULT_LOG": log])
      let stepsDone = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
      guard stepsDone.count > step else {
        #expect(faulty.ending == .exit(0), "a run without its fault failed: \(faulty.errorText)")
        break
      }
      step += 1
      let place = "\(plan), before '\(stepsDone[step - 1])'"
      violations += try violationsAfter(faulty, fault, in: lake).map { "\(place): \($0)" }
      let again = try lake.run(arguments)
      if again.ending != .exit(0) {
        violations.append("\(place): the next run ended with \(again.ending): \(again.errorText)")
      } else {
        let found = try lake.contents(lasting: true)
        violations += found.difference(from: expected).map { "\(place): \($0)" }
      }
    }
    print(
      "crash loop: \(command.rawValue), \(fault.testDescription), steps tried \(step), violations \(violations.count)")
    #expect(violations.isEmpty, "\(violations.prefix(5).joined(separator: "\n"))")
    #expect((10..<Self.stepLimit).contains(step))
  }

  /// What is wrong right after the fault.
  private func violationsAfter(_ faulty: ProcessResult, _ fault: StepFault, in lake: LakeFixture) throws -> [String] {
    var violations: [String] = []
    if !fault.allows(faulty.ending) { violations.append("ended with \(faulty.ending): \(faulty.errorText)") }
    if case .exit(let status) = faulty.ending, status != 0 {
      let isClear = faulty.errorLines.allSatisfy { $0.hasPrefix("tarn: ") && !$0.contains("Error(") }
      if faulty.errorLines.isEmpty || !isClear { violations.append("said '\(faulty.errorText)'") }
    }
    if fault == .kill {
      let doctor = try lake.run(["doctor", "--quiet"])
      if doctor.ending != .exit(0) { violations.append("doctor: \(doctor.outputText)") }
    } else {
      let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
      let problems = try LakeExamination(catalog).findings().filter { $0.level == .problem }
      violations += problems.map { "doctor: \($0.what)" }
    }
    if let broken = try LakeCatalog.open(root: lake.lake, writing: nil).firstBrokenEvent() {
      violations.append("event \(broken) breaks the chain")
    }
    return violations
  }
}
