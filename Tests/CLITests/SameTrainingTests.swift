// A training under a second name: it is said whose bytes it has.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct SameTrainingTests {
  @Test func aSecondNameIsOfTheFirstAndWasNotTrainedBefore() throws {
    let lake = try LakeFixture.make(.trained)
    let arguments = try #require(LakeStage.trained.arguments(LakeFixture.sources()).first).filter { $0 != "--quiet" }
    let first = try lake.succeed(arguments).outputText
    #expect(first.hasPrefix("t was trained before: "), "\(first)")
    let renamed = arguments.map { $0 == "t" ? "u" : $0 }
    for _ in 0..<2 {
      let second = try lake.succeed(renamed).outputText
      #expect(second.hasPrefix("u is t, which was trained of the same before: "), "\(second)")
    }
    #expect(try lake.succeed(arguments).outputText == first)
  }

  /// What was begun is not made again where another name has it meanwhile.
  @Test func anUnfinishedOneTakesWhatIsReadyUnderAnotherName() throws {
    let lake = try LakeFixture.unfinished(.trained)
    let arguments = try #require(LakeStage.trained.arguments(LakeFixture.sources()).first).filter { $0 != "--quiet" }
    #expect(try lake.text("SELECT state FROM trained_index WHERE name = 't'") == "training")
    let second = try lake.succeed(arguments.map { $0 == "t" ? "u" : $0 }).outputText
    #expect(second.hasPrefix("u is trained: "), "\(second)")
    // What a run gathers that dies sooner.
    let gathered = lake.lake + "/scratch/gather-t"
    try Disk.makeDirectory(gathered)
    let first = try lake.succeed(arguments).outputText
    #expect(first.hasPrefix("t was trained before: "), "\(first)")
    #expect(!FileManager.default.fileExists(atPath: gathered))
    #expect(try lake.texts("SELECT DISTINCT sha256 FROM trained_index").count == 1)
    try lake.succeed(["verify"])
  }
}
