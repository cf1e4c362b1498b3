// `tarn-bench ingest`: what the catalog's side of taking results in costs at the size
// of a real data set, whose bytes no test machine has. Results are sparse files of
// their true size; all is done to them but reading.

import Base
import Foundation
import Lake
import Logging

/// Takes in the results of a directory as `tarn ingest` does, reading none.
struct IngestBenchmark {
  private let lake: String
  private let tasks: String

  init(_ options: Options) throws {
    guard let lake = options.text("lake"), let tasks = options.text("tasks") else {
      throw BenchmarkError(text: "ingest needs --lake DIR and --tasks DIR")
    }
    self.lake = lake
    self.tasks = tasks
  }

  func run() throws {
    let directory = TaskDirectory(tasks)
    let catalog = try LakeCatalog.open(root: lake, command: "tarn-bench ingest") {
      try TaskIngest.leases(in: $0, of: directory.plan())
    }
    let start = ContinuousClock.now
    let ingest = TaskIngest(
      catalog, directory, recheckCount: 0, logger: Logger(label: "tarn.bench"), cancellation: Cancellation(),
      reading: { _, _, _, _ in }, report: { _ in })
    let summary = try ingest.run()
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    print(
      JSONValue.object([
        "seconds": .number(Double(seconds) + Double(attoseconds) / 1e18), "recorded": .count(summary.recorded.count),
        "open": .count(summary.open.count), "refused": .count(summary.refused.count),
        "sealed": .bool(summary.isSealed),
      ]).text)
    catalog.closing()
  }
}
