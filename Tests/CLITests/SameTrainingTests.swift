// A training under a second name: it is said whose bytes it has.

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
}
