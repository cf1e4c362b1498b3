// What ends k-means before its last iteration.

import Base
import Features
import Indexer
import TestSupport
import Testing

@Suite struct ConvergenceBoundTests {
  @Test(arguments: [
    ("0%", 0, "0%"), ("0.1%", 1_000, "0.1%"), ("0.0001%", 1, "0.0001%"), ("1%", 10_000, "1%"),
    ("01.50%", 15_000, "1.5%"),
    ("99.9999%", 999_999, "99.9999%"),
  ])
  func aShareIsReadAndWrittenInOneWay(text: String, millionths: Int, canonical: String) throws {
    let bound = try #require(ConvergenceBound(parsing: text))
    #expect(bound.millionths == millionths)
    #expect(bound.text == canonical)
    #expect(ConvergenceBound(parsing: canonical) == bound)
  }

  @Test(arguments: [
    "", "%", "0.1", ".1%", "1.%", "1.23456%", "100%", "-1%", "+1%", "1e1%", "0x1%", "1 %", "1%%", "1.2.3%", "١%",
    "999999999999999999999%",
  ])
  func nothingElseIsAShare(text: String) {
    #expect(ConvergenceBound(parsing: text) == nil)
  }

  /// Numbers that no quotient may round past: the bound itself is reached, one more is not.
  @Test(arguments: [1, 3, 7, 999_983, 20_000_000, 4_294_967_295])
  func theShareIsComparedWithoutRounding(captions: Int) {
    func isReached(_ moved: Int, _ bound: ConvergenceBound) -> Bool {
      func iteration(_ moved: Int) -> KMeansIteration {
        KMeansIteration(
          objective: 0, movedShare: Double(moved) / Double(captions), imbalance: 1, emptyCells: 0, largestCell: 1)
      }
      return bound.isReached(by: [iteration(captions), iteration(moved)], captionCount: captions)
    }
    for text in ["0%", "0.0001%", "0.1%", "33.3333%", "99.9999%"] {
      guard let bound = ConvergenceBound(parsing: text) else {
        Issue.record("\(text)")
        continue
      }
      let most = bound.millionths * captions / 1_000_000
      #expect(isReached(most, bound))
      #expect(!isReached(most + 1, bound))
    }
  }

  @Test func theFirstIterationIsNoSign() throws {
    let still = KMeansIteration(objective: 0, movedShare: 0, imbalance: 1, emptyCells: 0, largestCell: 1)
    let bound = try #require(ConvergenceBound(parsing: "1%"))
    #expect(!bound.isReached(by: [], captionCount: 5))
    #expect(!bound.isReached(by: [still], captionCount: 5))
    #expect(bound.isReached(by: [still, still], captionCount: 5))
  }

  @Test(arguments: ["0.10%", "1", "100%"])
  func aSpecificationThatSaysItOtherwiseIsNotKnown(text: String) {
    expectRefusal(.usage, naming: "ends k-means") {
      _ = try TrainingSpecification(parsing: #"{"format":1,"method":"kmeans","until_moved":"\#(text)"}"#)
    }
  }
}
