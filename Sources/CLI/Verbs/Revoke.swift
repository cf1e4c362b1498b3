internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn revoke`: withdraw a sealed version.
struct Revoke: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "revoke", abstract: "Withdraw a sealed version: its record stays, its files may be collected.",
    discussion: """
      There is no way back. Inputs, parameters and digests stay in the catalog, so that the version can be rebuilt and
      compared; `tarn gc` may remove its files after the grace period, unless a pin or another version keeps them.

      EXAMPLES
        tarn revoke laion@1 --reason 'made with the wrong captions'

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("A sealed version.", valueName: "NAME@N"), completion: .versions)
  var version: String

  @Option(help: ArgumentHelp("Why; kept in the history.", valueName: "text"))
  var reason: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard reason.contains(where: { !$0.isWhitespace }) else { throw ValidationError("--reason says nothing.") }
  }

  func run() throws {
    if LakeName.isValid(version) {
      let newest = try global.read().versionName(version)
      throw TarnError(
        .usage, "revoke takes NAME@N, for there is no way back",
        hint: "the newest of \(version) is \(newest); `tarn versions` lists them all")
    }
    let name = try VersionName(parsing: version)
    let catalog = try writer.open(global, "revoke", "\(name)")
    let isNew = try catalog.revoke(name, reason: reason)
    let isPinned = try catalog.isPinned(catalog.version(name))
    if global.json {
      Output.json(["version": .string("\(name)"), "new": .bool(isNew), "pinned": .bool(isPinned)])
    } else {
      Output.line("\(name) \(isNew ? "is revoked" : "was revoked before")\(isPinned ? "; a pin keeps its files" : "")")
    }
    Output.flush()
  }
}
