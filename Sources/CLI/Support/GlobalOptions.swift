// The options every verb has, and how a verb opens its lake.

internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake
internal import Logging
internal import Synchronization

/// Options of every verb.
struct GlobalOptions: ParsableArguments {
  /// Above them in `--help`.
  static let title = "Options of most verbs"

  @Option(
    help: ArgumentHelp("The lake's directory (default: TARN_LAKE, else the nearest one above).", valueName: "dir"),
    completion: .directory)
  var lake: String?

  @Flag(help: "Print JSON: one document, or one line for each row.")
  var json = false

  @Flag(
    name: .shortAndLong,
    help: "Print no progress, notes or advice; what is lost or damaged, and rows that must go, are said all the same."
  )
  var quiet = false

  @Flag(name: .shortAndLong, help: "Print more of what is being done.")
  var verbose = false

  /// The lake's directory.
  ///
  /// - Returns: What `--lake` or `TARN_LAKE` name, else the nearest lake at or
  ///   above the working directory.
  /// - Throws: ``TarnError`` `.noLake`.
  func lakeRoot() throws -> String {
    let root = try namedRoot()
    Self.named.withLock { $0 = root }
    return root
  }

  /// The lake of this process, for what is said of a full disk.
  static var lastRoot: String? { named.withLock(\.self) }
  private static let named = Mutex<String?>(nil)

  private func namedRoot() throws -> String {
    if let lake { return lake }
    if let named = SystemPath.variable("TARN_LAKE") { return named }
    let here = SystemPath.workingDirectory
    if let found = LakeLayout.findRoot(from: here) { return found }
    if let fault = LostLake.fault(atOrAbove: here) { throw fault }
    throw TarnError(
      .noLake, "there is no lake at or above \(here)",
      hint: "make one with `tarn init`, or name one with --lake")
  }

  /// Opens the lake for reading.
  func read() throws -> LakeCatalog { try read(lakeRoot()) }

  /// Opens a lake for reading that was found already; what the user wants free counts where room is asked for.
  func read(_ root: String, keeping room: RoomOptions? = nil) throws -> LakeCatalog {
    let catalog = try LakeCatalog.open(root: root, writing: nil, keepingFree: room?.keepFree?.byteCount ?? 0)
    catalog.unpackInScratch()
    return catalog
  }

  /// What ends this command before its time.
  var cancellation: Cancellation { Interruption.cancellation }

  /// Where progress goes.
  func progress(_ title: String) -> ProgressLine { ProgressLine(title: title, isQuiet: quiet || json && !isTerminal) }

  /// Says what a user can do without, a note or advice: not with `--quiet`.
  ///
  /// What is lost, damaged or must go is said by ``Output/warn(_:)``, always.
  func note(_ text: String) { if !quiet { Output.diagnostic(text) } }

  private var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// The logger of this run, on stderr.
  ///
  /// With `--quiet` it takes errors alone, which are warnings that are always said.
  func logger(_ label: String) -> Logger {
    var logger = Logger(label: label) { StderrLogHandler(label: $0) }
    logger.logLevel = verbose ? .debug : quiet ? .error : .warning
    return logger
  }
}

/// Options of the verbs that write.
struct WriterOptions: ParsableArguments {
  @Option(help: ArgumentHelp("How long to wait for another tarn that has what this needs.", valueName: "duration"))
  var wait: TimeSpan?

  /// Opens the lake for writing, with what the table of verbs says that one needs.
  ///
  /// - Parameters:
  ///   - global: Names the lake.
  ///   - verb: The verb, as ``VerbLeases`` has it.
  ///   - subject: What it is told, for others that wait for it.
  ///   - names: What it works with.
  ///   - room: What the user wants free.
  /// - Returns: The catalog, with its leases held.
  /// - Throws: ``TarnError``.
  func open(
    _ global: GlobalOptions, _ verb: String, _ subject: String = "", on names: [Lease.Kind: [String]] = [:],
    keeping room: RoomOptions? = nil
  ) throws -> LakeCatalog {
    let (row, command) = (VerbLeases.of(verb), subject.isEmpty ? verb : "\(verb) \(subject)")
    if case .wholeLake = row.need {
      return try settled(
        global,
        LakeCatalog.open(
          root: global.lakeRoot(), writing: command, wait: wait?.duration ?? .zero, givesBack: row.givesBack,
          keepingFree: room?.keepFree?.byteCount ?? 0))
    }
    return try open(global, command, keeping: room, givesBack: row.givesBack) { _ in row.leases(names) }
  }

  /// Opens the lake for writing beside others.
  ///
  /// - Parameters:
  ///   - global: Names the lake.
  ///   - command: The command, told to others that wait for it.
  ///   - room: What the user wants free.
  ///   - givesBack: Whether the command gives room back, and so works on a full disk.
  ///   - leases: What it needs, by what the catalog says.
  /// - Returns: The catalog, with its leases held.
  /// - Throws: ``TarnError``.
  func open(
    _ global: GlobalOptions, _ command: String, keeping room: RoomOptions? = nil, givesBack: Bool = false,
    leasing leases: (LakeCatalog) throws -> [Lease]
  ) throws -> LakeCatalog {
    try settled(
      global,
      LakeCatalog.open(
        root: global.lakeRoot(), command: command, wait: wait?.duration ?? .zero, givesBack: givesBack,
        keepingFree: room?.keepFree?.byteCount ?? 0, leasing: leases))
  }

  private func settled(_ global: GlobalOptions, _ catalog: LakeCatalog) throws -> LakeCatalog {
    OpenLakes.add(catalog)
    catalog.unpackInScratch()
    let stuck = try catalog.settleInterruptedShards()
    if let first = stuck.first {
      let others = stuck.count > 1 ? " (and \((stuck.count - 1).counted("file")) more)" : ""
      let hint = first.refusal.hint.map { "; \($0)" } ?? ""
      global.note("tarn: warning: what was evicted is still there: \(first.refusal.message)\(others)\(hint)")
    }
    do {
      for stranger in try catalog.strangers() {
        Output.warn("\(stranger.message); \(stranger.hint)")
      }
    } catch let error as TarnError where error.code == .io {
      Output.warn("\(error)")
    }
    return catalog
  }
}

/// The lakes that this process has open for writing, to be closed before it ends.
enum OpenLakes {
  private static let closings = Mutex<[@Sendable () -> Void]>([])
  private static let sources = Mutex<Set<String>>([])

  static func add(_ catalog: LakeCatalog) {
    closings.withLock { $0.append(catalog.closing) }
    sources.withLock { $0.formUnion(catalog.sourcesInWork) }
  }

  /// Sources that the command works with.
  static var sourcesInWork: Set<String> { sources.withLock(\.self) }

  static func close() { for closing in closings.withLock({ $0 }) { closing() } }
}

/// The option of the verbs that write much.
struct RoomOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Bytes of each file system to leave free, e.g. 20GB; 1 % or 1 GB, whichever is less, and what the catalog needs stay free anyway.",
      valueName: "size"))
  var keepFree: ByteSize?
}

/// Log lines on stderr: `warning: …`.
///
/// What ends a command is thrown: an error that is logged is a warning of what is lost or must go.
struct StderrLogHandler: LogHandler {
  let label: String
  var logLevel: Logger.Level = .warning
  var metadata: Logger.Metadata = [:]

  init(label: String) { self.label = label }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    if event.level == .error { return Output.warn("\(event.message)") }
    Output.diagnostic("tarn: \(event.level): \(event.message)")
  }
}
