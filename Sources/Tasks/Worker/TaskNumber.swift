// Which task of a plan this process is to carry out, as engines say it.

internal import Base

/// The number of a task in the environment of a worker.
package enum TaskNumber {
  /// What engines call the index of one task of an array, in the order in which they are looked for.
  private static let variables = ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX"]
  /// Added to it: an array's indexes are small, tasks may be many.
  private static let offset = "TARN_TASK_OFFSET"

  /// The number that the environment names.
  ///
  /// - Parameter environment: The process's.
  /// - Returns: Index and offset together.
  /// - Throws: ``TarnError`` `.usage` without one.
  package static func inEnvironment(_ environment: [String: String]) throws -> Int {
    func number(_ name: String) throws -> Int? {
      guard let text = environment[name], !text.isEmpty else { return nil }
      guard let number = Int(text), ForeignNumber.ordinal.holds(number) else {
        throw TarnError(.usage, "\(name) is '\(text.printable)', no number of a task")
      }
      return number
    }
    for name in variables {
      if let index = try number(name) { return index + (try number(offset) ?? 0) }
    }
    throw TarnError(
      .usage, "which task is not said: there is no --task, and none of \(variables.joined(separator: ", "))",
      hint: "give --task N; run.txt has a line for each")
  }
}
