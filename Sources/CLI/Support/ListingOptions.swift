// Listings as verbs are told of them, and how they are asked for.

internal import ArgumentParser
internal import Base
internal import Lake

/// Where names come from that follow no pattern.
struct ListingOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where files are listed: hf://datasets/ORG/NAME[@REVISION][/DIR], the address of such a tree, or s3://BUCKET/PREFIX/.",
      valueName: "place"))
  var listing: String?

  @Option(
    help: ArgumentHelp(
      "With --listing: which of its files are shards, e.g. '*.npz' (default: the feature files, if of one format).",
      valueName: "pattern"))
  var match: String?

  func validate() throws {
    guard listing != nil || match == nil else { throw ValidationError("--match goes with --listing.") }
  }

  /// What asks for listings; a host that is waited for is told of.
  static func question(
    _ configuration: FetchConfiguration, waits: WaitOptions, _ global: GlobalOptions, _ progress: ProgressLine
  ) -> ListingQuestion {
    ListingQuestion(configuration, waits: waits, cancellation: global.cancellation) { host, pause, left in
      progress.note(waiting: host, pause, left)
    }
  }
}
