// How many rows of a query are ordered again by the codes that refine.

internal import ArgumentParser
internal import Lake

/// The rows that `search` and `evaluate` look at again.
struct RefinedRowsOptions: ParsableArguments {
  @Option(
    name: .customLong("refine"),
    help: ArgumentHelp(
      "Order the N best rows again by the codes that refine a version (default: \(VersionSearcher.refinedRows) where it has such; 0 for none).",
      valueName: "n"))
  var count: Int?

  /// Refuses fewer rows than are wanted.
  ///
  /// - Parameter wanted: Rows of each query that are answered or looked at after that.
  /// - Throws: `ValidationError`.
  func validate(for wanted: Int) throws {
    guard let count else { return }
    guard (0...65_536).contains(count) else { throw ValidationError("--refine is 0 to 65536.") }
    guard count == 0 || count >= wanted else {
      throw ValidationError(
        "--refine \(count) looks at fewer rows again than the \(wanted) that are wanted; say --refine \(wanted) or more, a smaller -k, or --refine 0 for none."
      )
    }
  }
}
