// Options that a few verbs have in common.

internal import ArgumentParser
internal import Base
internal import Lake

/// Which shards a verb is about.
struct ShardRangeOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Which shards, e.g. 0-39,57; all by default.", valueName: "ranges"))
  var shards: String?

  /// Their ordinals; nil for all.
  func ordinals() throws -> OrdinalSet? { try shards.map(OrdinalSet.init(parsing:)) }
}

/// Why somebody does what the history keeps for good.
struct ReasonOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Why; kept in the history.", valueName: "text"))
  var reason: String

  func validate() throws {
    guard reason.contains(where: { !$0.isWhitespace }) else { throw ValidationError("--reason says nothing.") }
  }
}

/// Where a lake has its directories.
struct LakeDirectoryOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Directory of fetched shards, when not inside the lake.", valueName: "dir"),
    completion: .directory)
  var shards: String?

  @Option(
    help: ArgumentHelp("Directory of results, when not inside the lake.", valueName: "dir"), completion: .directory)
  var artifacts: String?

  /// Both as the catalog keeps them.
  var places: (shards: String, artifacts: String) {
    (shards.map(LakeLayout.absolute) ?? "shards", artifacts.map(LakeLayout.absolute) ?? "artifacts")
  }
}
