// What a user says to bytes that would replace those of a shard.

internal import ArgumentParser
internal import Lake

/// Options of commands that may bring other bytes than a shard has.
struct ReplacementOptions: ParsableArguments {
  @Flag(help: "Take other bytes than a version or trained index rests on; the old ones go.")
  var replace = false

  @Flag(
    name: .customLong("keep-old"),
    help: "Take them and keep the old ones in the lake too; `tarn gc` has them when nothing rests on them any more.")
  var keepOld = false

  var replacement: Replacement { keepOld ? .keepingOld : replace ? .always : .ofUnpinned }

  func validate() throws {
    guard !(replace && keepOld) else { throw ValidationError("--replace and --keep-old exclude each other.") }
  }
}
