internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn revoke`: withdraw a sealed version.
struct Revoke: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "revoke", abstract: "Withdraw a sealed version: its record stays, its files may be collected.",
    discussion: """
      `tarn serve` answers from it no more; `tarn search NAME@N` and `tarn evaluate` do as long as its files are there, with a
      warning.
      There is no way back. Inputs, parameters and digests stay in the catalog, so that the version can be rebuilt and
      compared; `tarn gc` may remove its files after the grace period, unless a pin or another version keeps them. A file
      NAME.revoked beside its lock file says so to `tarn rebuild-catalog`, too; where it cannot be written, which is said,
      `tarn gc --apply` writes it later. Copies that `tarn push` or `tarn export --into` wrote are named, to be removed where
      they are.

      EXAMPLES
        tarn revoke laion@1 --reason 'made with the wrong captions'

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("A sealed version.", valueName: "NAME@N"), completion: .versions)
  var version: String

  @OptionGroup var why: ReasonOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    if LakeName.isValid(version) {
      let newest = try global.read().versionName(version)
      throw TarnError(
        .usage, "revoke takes NAME@N, for there is no way back",
        hint: "the newest of \(version) is \(newest); `tarn versions` lists them all")
    }
    let name = try VersionName(parsing: version)
    let catalog = try writer.open(global, "revoke", "\(name)")
    let isNew = try catalog.revoke(name, reason: why.reason, unwritten: global.warnOfUnwrittenMark)
    let isPinned = try catalog.isPinned(catalog.version(name))
    if global.json {
      Output.json([
        "version": .string("\(name)"), "new": .bool(isNew), "pinned": .bool(isPinned),
        "published": .strings(try catalog.publications(of: name).map(\.place)),
      ])
    } else {
      Output.line("\(name) \(isNew ? "is revoked" : "was revoked before")\(isPinned ? "; a pin keeps its files" : "")")
      try catalog.tellOfPublications(of: name)
    }
    Output.flush()
  }
}

extension GlobalOptions {
  /// Says that a version is revoked, or pinned, though the file beside its lock file, which says so too, could not be
  /// written.
  func warnOfUnwrittenMark(_ error: TarnError) {
    Output.warn(
      "\(error.message); without that file a catalog that is made again knows of no revocation, or of no pin, and "
        + "`tarn gc --apply` of a user who may write there makes it")
  }
}
