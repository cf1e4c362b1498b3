// The command line's root: the list of verbs, and the one way out.

internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn`: register feature sources, sync them, train, build, search, reproduce.
@main
struct Tarn: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tarn",
    abstract: "A SQLite-tracked data lake for embedding features: sync shards, build FAISS indexes, reproduce them.",
    discussion: """
      EXAMPLES
        tarn init lake
        tarn source add images --directory /data/img_emb
        tarn sync
        tarn train clip --images images --nlist 1024 --method kmeans
        tarn build laion --trained clip --images images
        tarn search laion --queries queries.npy
        tarn status --watch

      A lake is a directory; verbs work on the one that --lake names, else TARN_LAKE, else the nearest at or above this directory.

      \(ExitStatus.help)
      """,
    version: Tool.version,
    groupedSubcommands: [
      CommandGroup(
        name: "Features",
        subcommands: [
          Init.self, SourceGroup.self, Sync.self, Limit.self, Import.self, PackVerb.self, Evict.self, Exclude.self,
          Convert.self,
        ]),
      CommandGroup(
        name: "Indexes",
        subcommands: [Train.self, AdoptGroup.self, Build.self, Plan.self, Worker.self, Ingest.self]),
      CommandGroup(
        name: "Questions",
        subcommands: [
          Status.self, SQL.self, Schema.self, Versions.self, Show.self, Search.self, Evaluate.self, Locate.self,
          Diff.self, Serve.self,
        ]),
      CommandGroup(name: "Reproducing and sharing", subcommands: [Reproduce.self, Export.self, Push.self, Pull.self]),
      CommandGroup(
        name: "Upkeep",
        subcommands: [
          Pin.self, Unpin.self, Revoke.self, Abandon.self, Remove.self, Rename.self, GC.self, Verify.self, Backup.self,
          RebuildCatalog.self, Doctor.self,
        ]),
    ])

  private static let words = CommandWords(Array(CommandLine.arguments.dropFirst()))

  static func main() async {
    // Sockets and pipes of ours may close under a write; what becomes of stdout is Output's to say.
    signal(SIGPIPE, SIG_IGN)
    // So is a limit of the size of files.
    signal(SIGXFSZ, SIG_IGN)
    // Where whoever starts tarn ignores this one, as some supervisors do, the system tells nobody how a child ended.
    signal(SIGCHLD, SIG_DFL)
    OpenFiles.raiseLimit()
    NamedThread.endProcess { Tarn.leave(with: TarnError.noThread($0)) }
    SystemPath.endProcess { Tarn.leave(with: $0) }
    CurlLibrary.endProcess { Tarn.leave(with: $0) }
    do {
      try SystemPath.requireUTF8((0..<Int(CommandLine.argc)).compactMap { unsafe CommandLine.unsafeArgv[$0] })
      try Interruption.install()
      if let fault = words.unknownVerb { throw fault }
      var command = try named()
      // Help is a command of the parser's own.
      if !String(reflecting: type(of: command)).hasPrefix("ArgumentParser.") {
        _ = try ThreadCount.ofProcess()
        try Tool.requireSimdLevel()
      }
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
      Output.flush()
      end(.ok)
    } catch {
      leave(with: error)
    }
  }

  /// The command that the words name.
  ///
  /// A verb reads its own words, so that the parser need not look at all others first, a tenth of what a
  /// short command takes. What it does not take is read again from the root, which knows what to say.
  private static func named() throws -> any ParsableCommand {
    if words.command.configuration.subcommands.isEmpty, let command = try? words.command.parseAsRoot(words.own) {
      return command
    }
    return try parseAsRoot(words.arguments)
  }

  /// Ends the process at once: what exit() runs would take OpenSSL apart while
  /// threads that have handed over their result still free what they used.
  private static func end(_ status: ExitStatus) -> Never {
    Output.leaveScreen()
    OpenLakes.close()
    fflush(nil)
    _exit(status.rawValue)
  }

  /// Says what went wrong, in one line, and ends the process.
  private static func leave(with error: any Error) -> Never {
    // A shell that asks what could stand in a word's place shows everything that it hears.
    if CommandLine.arguments.dropFirst().first == "---completion", exitCode(for: error) != .success { end(.failure) }
    // What can go is looked for when nothing else is to be done any more.
    let error =
      (error as? TarnError)?.explained(inLake: GlobalOptions.lastRoot, needing: OpenLakes.sourcesInWork) ?? error
    guard let failure = Failure(error) else { explain(error) }
    Output.flush()
    if CommandLine.arguments.contains("--json") {
      Output.json(["error": .object(failure.json)])
      Output.flush()
    }
    if let line = failure.line { Output.diagnostic("tarn: " + line) }
    end(failure.status)
  }

  /// Says what the argument parser has to say: help to stdout, a fault in one line to stderr.
  private static func explain(_ error: any Error) -> Never {
    let status = exitCode(for: error)
    guard status.isSuccess else { leave(with: words.fault(message(for: error))) }
    let text = fullMessage(for: error)
    let isHelp = text.hasPrefix("OVERVIEW: ")
    let isScript = CommandLine.arguments.contains("--generate-completion-script")
    if text == Tool.version {
      sayVersion()
    } else {
      let page = isHelp ? HelpText.page(of: words.command, width: max(20, Output.Stream.data.size.columns)) : text
      Output.lines(isScript && !isHelp ? LakeCompletions.script(page) : page)
    }
    Output.flush()
    end(.ok)
  }

  /// The version, what it was built of, and what it runs on.
  private static func sayVersion() {
    let libraries = Tool.libraries
    if CommandLine.arguments.contains("--json") {
      Output.json([
        "version": .string(Tool.version), "commit": .string(Tool.commit),
        "libraries": .object(Dictionary(uniqueKeysWithValues: libraries.map { ($0.name, .string($0.version)) })),
      ])
      return
    }
    Output.line("tarn \(Tool.version)")
    Output.line("commit    \(Tool.commit)")
    let width = libraries.map(\.name.count).max() ?? 0
    for (name, version) in libraries {
      Output.line("\(name.padding(toLength: max(width, 8), withPad: " ", startingAt: 0))  \(version)")
    }
  }

  /// Ends a command in the middle of its work, whatever its threads do.
  ///
  /// Where stdout waits for its reader, what is meant for it is left out.
  static func abandon(with error: TarnError) -> Never {
    guard let failure = Failure(error) else { _exit(ExitStatus.failure.rawValue) }
    if CommandLine.arguments.contains("--json"), Output.isReady {
      Output.json(["error": .object(failure.json)])
      Output.flush()
    }
    if let line = failure.line { Output.diagnostic("tarn: " + line) }
    _exit(failure.status.rawValue)
  }
}
