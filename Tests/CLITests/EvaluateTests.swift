// `tarn evaluate`: what it measures, keeps and refuses.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct EvaluateTests {
  private struct Answer: Decodable {
    struct Evaluated: Decodable {
      struct Point: Decodable {
        struct Recall: Decodable {
          let k: Int
          let recall: Double
          let routing_recall: Double
        }
        let nprobe: Int
        let share_scanned: Double
        let recalls: [Recall]
      }
      let version: String
      let rows: Int
      let list_sizes: [Int]
      let points: [Point]
    }
    let evaluations: [Evaluated]
    let failures: [String]
  }

  private func queries(_ lake: LakeFixture, dimension: Int = 8, count: Int = 30) throws -> String {
    let path = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(count, dimension: dimension, seed: 77)).write(to: URL(fileURLWithPath: path))
    return path
  }

  /// Between two points it is linear, and outside of them nothing is said.
  @Test func recallAtAShareIsBetweenTheMeasuredPoints() throws {
    func evaluation(_ points: [(scanned: Double, recall: Double)]) -> Evaluation {
      Evaluation(
        version: VersionName(name: "v", number: 1), queries: "q.npy", queriesDigest: .of("q"), queryCount: 1,
        rowCount: 1_000, nlist: 9, truthDigest: .of("t"), threads: 1, imbalance: 1, listSizes: [], environment: "{}",
        points: points.enumerated().map { number, point in
          EvaluationPoint(
            nprobe: number + 1, vectorsScanned: point.scanned, seconds: 1,
            recalls: [RecallPoint(k: 10, recall: point.recall, standardError: 0, routingRecall: 1)])
        })
    }
    let found = evaluation([(15, 0.25), (25, 0.75), (60, 0.75)])
    #expect(found.recall(at: 10, whereScanned: 0.01) == nil && found.recall(at: 1, whereScanned: 0.02) == nil)
    #expect(abs((found.recall(at: 10, whereScanned: 0.02) ?? 0) - 0.5) < 1e-9)
    #expect(found.recall(at: 10, whereScanned: 0.04) == 0.75)
    #expect(found.recall(at: 10, whereScanned: 0.07) == nil)
    #expect(found.recall(at: 10, whereScanned: 0.06) == 0.75)
  }

  @Test func recallRisesWithTheListsVisitedAndIsKept() throws {
    let lake = try LakeFixture.make(.built)
    let result = try lake.succeed(["evaluate", "v@1", "--queries", try queries(lake), "--nprobe", "1,2,3,9", "--json"])
    let answer = try JSONDecoder().decode(Answer.self, from: Data(result.output))
    let found = try #require(answer.evaluations.first)
    #expect(found.version == "v@1" && found.rows == 40 && answer.failures.isEmpty)
    #expect(found.list_sizes.reduce(0, +) == 3)
    let document = try #require(JSONValue(parsing: result.outputText)?["evaluations"]?.elements.first)
    // Of three shares at three depths.
    #expect(document["recall_where_scanned"]?.elements.count == 9, "\(result.outputText)")
    // nprobe is cut to the three lists there are.
    #expect(found.points.map(\.nprobe) == [1, 2, 3])
    #expect(found.points.map(\.share_scanned) == found.points.map(\.share_scanned).sorted())
    let last = try #require(found.points.last)
    #expect(last.share_scanned == 1)
    #expect(last.recalls.map(\.k) == [1, 10, 100])
    #expect(last.recalls.allSatisfy { $0.routing_recall == 1 })
    // All rows come back when all are asked for.
    #expect(last.recalls.last?.recall == 1)
    for point in found.points { #expect(point.recalls.allSatisfy { $0.recall <= $0.routing_recall + 1e-12 }) }
    #expect(try lake.text("SELECT count(*) || ' ' || min(version) FROM v_evaluation") == "9 v@1")
    let shown = try lake.succeed(["show", "v@1"]).outputText
    #expect(shown.contains("evaluations\n") && shown.contains("queries.npy"))
    // The same evaluation again needs no shard: the exact answer was kept.
    try lake.evictImages()
    let again = try lake.succeed(["evaluate", "v@1", "--queries", try queries(lake), "--nprobe", "3"])
    #expect(again.outputText.contains("v@1") && again.outputText.contains("100.000 %"))
    let deeper = try lake.run(["evaluate", "v@1", "--queries", try queries(lake), "-k", "7"])
    #expect(deeper.ending == .exit(21))
    #expect(deeper.errorText.contains("tarn sync"))
  }

  /// On a machine that others compute on, too, the variable goes for every verb, and an option before it.
  @Test func theVariableSaysHowManyThreadsThereAre() throws {
    let lake = try LakeFixture.make(.built)
    let arguments = ["evaluate", "v@1", "--queries", try queries(lake), "--nprobe", "1", "--json"]
    for (options, count) in [([String](), 3), (["--threads", "2"], 2)] {
      let result = try lake.run(arguments + options, environment: ["TARN_THREADS": "3"])
      #expect(result.outputText.contains("\"threads\":\(count)"), "\(result.outputText)\(result.errorText)")
    }
  }

  @Test func theGateDecidesTheExitStatus() throws {
    let lake = try LakeFixture.make(.built)
    let arguments = ["evaluate", "v@1", "--queries", try queries(lake), "-k", "10", "--quiet"]
    #expect(try lake.run(arguments + ["--nprobe", "3", "--require", "recall@10=0"]).ending == .exit(0))
    let failed = try lake.run(arguments + ["--nprobe", "1", "--require", "recall@10=1", "--require", "recall@1=0"])
    #expect(failed.ending == .exit(25))
    #expect(failed.errorLines.count == 1)
    #expect(failed.errorText.contains("v@1 has recall@10") && failed.errorText.contains("at nprobe 1, less than 1.0"))
    #expect(failed.outputText.contains("v@1"))
  }

  @Test(arguments: [
    ["--require", "recall@7=0.5"], ["--require", "recall@10=1.5"], ["--require", "precision@10=1"], ["--nprobe", "0"],
    ["--nprobe", "1,,2"], ["-k", "0"], ["--require", "recall@100=0.5", "-k", "10"],
  ])
  func whatCannotBeMeasuredIsAUsageError(arguments: [String]) throws {
    let lake = try LakeFixture.make(.built)
    let result = try lake.run(["evaluate", "v@1", "--queries", try queries(lake)] + arguments)
    #expect(result.ending == .exit(64))
  }

  @Test func queriesOfAnotherDimensionAreRefused() throws {
    let lake = try LakeFixture.make(.built)
    let result = try lake.run(["evaluate", "v@1", "--queries", try queries(lake, dimension: 6)])
    #expect(result.ending == .exit(64))
    #expect(result.errorText.contains("6 elements") && result.errorText.contains("has 8"))
  }
}
