// What an evaluation measures, as the engine counts it, the catalog keeps it
// and pages show it.

/// Recall at one depth.
package struct RecallPoint: Sendable, Equatable {
  package let k: Int
  /// Share of the exact k nearest that came back, mean over queries, `0...1`.
  package let recall: Double
  /// Standard error of that mean.
  package let standardError: Double
  /// Share of the exact k nearest whose list was visited, `0...1`.
  package let routingRecall: Double

  package init(k: Int, recall: Double, standardError: Double, routingRecall: Double) {
    self.k = k
    self.recall = recall
    self.standardError = standardError
    self.routingRecall = routingRecall
  }
}

/// What a search that visits some number of lists finds.
package struct EvaluationPoint: Sendable, Equatable {
  package let nprobe: Int
  /// Rows in the visited lists, mean over queries.
  package let vectorsScanned: Double
  /// What all queries took together.
  package let seconds: Double
  /// Ascending by k.
  package let recalls: [RecallPoint]

  package init(nprobe: Int, vectorsScanned: Double, seconds: Double, recalls: [RecallPoint]) {
    self.nprobe = nprobe
    self.vectorsScanned = vectorsScanned
    self.seconds = seconds
    self.recalls = recalls
  }
}
