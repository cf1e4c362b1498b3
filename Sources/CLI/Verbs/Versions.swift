internal import ArgumentParser

/// `tarn versions`: list the index versions.
struct Versions: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "versions", abstract: "List the index versions.",
    discussion: """
      EXAMPLES
        tarn versions

      \(ExitStatus.help)
      """)

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func run() throws {
    try Query.print(
      """
      SELECT version, state, trained_index, codec, nlist, source, inputs, holes, outputs, rows,
        bytes, sha256, sealed_at, published_as, refine FROM v_version ORDER BY name, number
      """, global)
  }
}
