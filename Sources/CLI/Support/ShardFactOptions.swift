// The options of the verbs that register shards.

internal import ArgumentParser

/// What is known of shards that are to be registered.
struct ShardFactOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Expected sizes: lines 'NAME, BYTES' or 'NAME, BYTES, ROWS'.", valueName: "file"),
    completion: .file())
  var sizes: String?

  @Option(help: ArgumentHelp("Expected digests, as sha256sum writes them.", valueName: "file"), completion: .file())
  var sha256: String?

  @Option(
    help: ArgumentHelp(
      "What the shards are called, where addresses do not end in names: 'img_{ordinal:04}.npy'.", valueName: "template")
  )
  var shardNames: String?

  @Option(
    name: .customLong("order-of"),
    help: ArgumentHelp(
      "Take the files in the order of this source's, by what tells their names apart: captions that pair with images. A companion's come in its owner's without it.",
      valueName: "source"), completion: .sources)
  var orderOf: String?
}
