// A system that gives no more threads, at each thread that a command makes: ours,
// those that Swift's tasks run on, those of libraries. The command ends with one
// line that says so; it neither waits nor dies of a signal.

import Foundation
import Testing
import TestSupport

@Suite struct ThreadFaultTests {
  private static let train = ["train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--quiet"]

  /// Where each verb starts from, and what it is told.
  private static let verbs: [(stage: LakeStage, arguments: [String])] = [
    (.registered, ["sync", "--quiet"]),
    (.registered, ["source", "probe", "images"]),
    (.synced, train),
    (.synced, train + ["--router", "learned"]),
    (.registered, train + ["--fetch"]),
    (.trained, ["build", "v", "--trained", "t", "--images", "images", "--quiet"]),
    (.built, ["search", "v@1", "--queries", "QUERIES", "--threads", "3"]),
    (.built, ["evaluate", "v@1", "--queries", "QUERIES", "-k", "3", "--quiet"]),
    (.built, ["reproduce", "v@1"]),
    (.built, ["verify", "--quiet"]),
    (.built, ["status"]),
  ]

  @Test(.tags(.slow), arguments: verbs.indices)
  func aThreadThatCannotBeMadeEndsTheCommand(verb: Int) throws {
    let (stage, arguments) = Self.verbs[verb]
    let lake = try LakeFixture.make(stage)
    let queries = lake.directory.path + "/q.npy"
    let rows = FeatureBytes.npy(40, dimension: FeatureSources.dimension, seed: 5)
    try Data(rows).write(to: URL(fileURLWithPath: queries))
    let command = arguments.map { $0 == "QUERIES" ? queries : $0 }
    var number = 1
    while true {
      let copy = try lake.copy(keepingLinks: true)
      let result = try copy.run(command, environment: ["TARN_FAULT": "thread@\(number)", "TARN_THREADS": "3"])
      if result.ending == .exit(0) { break }
      #expect(result.ending == .exit(1), "\(command), thread \(number): \(result.errorText)")
      #expect(
        result.errorLines.last?.hasPrefix("tarn: cannot start a thread: Resource temporarily unavailable; ") == true,
        "\(command), thread \(number): \(result.errorText)")
      // What was left is taken up, or made anew.
      if TestRounds.isFull || number % 4 == 1 {
        #expect(try copy.run(command).ending == .exit(0), "\(command), after thread \(number)")
      }
      number += 1
      try #require(number < 100)
    }
    // Even `status` has the thread that hears signals.
    #expect(number > 1)
  }

  @Test func theErrorIsADocumentToo() throws {
    let lake = try LakeFixture.make(.synced)
    let result = try lake.run(["status", "--json"], environment: ["TARN_FAULT": "thread@1"])
    #expect(result.ending == .exit(1))
    #expect(result.outputText.contains(#""exit":1"#) && result.outputText.contains("cannot start a thread"))
  }

  /// OpenBLAS starts a thread for each CPU when it is loaded, unless it is told
  /// otherwise, and raises SIGINT when it cannot.
  @Test func noThreadIsMadeBeforeTheCommandBegins() throws {
    let lake = try LakeFixture.make(.empty)
    let environment = ["TARN_FAULT": "thread@1", "OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"]
    let result = try lake.run(["status"], environment: environment)
    #expect(result.ending == .exit(1))
    #expect(result.errorLines.count == 1 && result.errorText.contains("cannot start a thread"))
  }
}
