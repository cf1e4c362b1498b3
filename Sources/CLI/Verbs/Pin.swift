internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn pin`: keep a version's outputs.
struct Pin: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pin", abstract: "Keep a version's outputs whatever becomes of it.",
    discussion: """
      A pinned version's files survive `tarn gc` even after the version is revoked; names in its directory that were
      collected come back as long as the outputs are there. Pinning it again changes nothing else. The file
      NAME.pinned beside its lock file says so to `tarn rebuild-catalog`.

      EXAMPLES
        tarn pin laion@1 --reason 'cited in the paper'
        tarn sql "SELECT * FROM v_pin WHERE unpinned_at IS NULL"

      \(ExitStatus.help)
      """)

  @Argument(
    help: ArgumentHelp("The version, sealed or revoked; NAME for the newest.", valueName: "NAME[@N]"),
    completion: .versions)
  var version: String

  @Option(help: ArgumentHelp("Why; kept with the pin.", valueName: "text"))
  var reason: String = ""

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, "pin", version)
    let name = try global.version(version, catalog)
    let isNew = try catalog.pin(name, reason: reason, unwritten: global.warnOfUnwrittenMark)
    if global.json {
      Output.json(["version": .string("\(name)"), "pinned": .bool(true), "new": .bool(isNew)])
    } else {
      Output.line("\(name) \(isNew ? "is pinned" : "was pinned before")")
    }
    Output.flush()
  }
}

/// `tarn unpin`: take a pin back.
struct Unpin: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unpin", abstract: "Take a pin back; a sealed version is kept all the same.",
    discussion: """
      EXAMPLES
        tarn unpin laion@1

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version; NAME for the newest.", valueName: "NAME[@N]"), completion: .versions)
  var version: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, "unpin", version)
    let name = try global.version(version, catalog)
    let wasPinned = try catalog.unpin(name)
    if global.json {
      Output.json(["version": .string("\(name)"), "pinned": .bool(false), "new": .bool(wasPinned)])
    } else {
      Output.line("\(name) \(wasPinned ? "is not pinned any more" : "was not pinned")")
    }
    Output.flush()
  }
}
