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
    discussion: ExitStatus.help,
    version: Tool.version,
    subcommands: [
      Init.self, SourceGroup.self, Sync.self, Limit.self, Import.self, Evict.self, Train.self, Build.self, Plan.self,
      Worker.self, Ingest.self, Status.self,
      SQL.self, Schema.self, Versions.self, Show.self, Search.self, Evaluate.self, Locate.self, Reproduce.self,
      Pin.self, Unpin.self, Revoke.self, Abandon.self, Remove.self, Rename.self, GC.self, Verify.self, Backup.self,
      RebuildCatalog.self, Export.self, Push.self, Pull.self, Diff.self, Doctor.self,
    ])

  private static let words = CommandWords(Array(CommandLine.arguments.dropFirst()))

  static func main() async {
    // Sockets and pipes of ours may close under a write; what becomes of stdout is Output's to say.
    signal(SIGPIPE, SIG_IGN)
    // So is a limit of the size of files.
    signal(SIGXFSZ, SIG_IGN)
    OpenFiles.raiseLimit()
    NamedThread.endProcess { Tarn.leave(with: TarnError.noThread($0)) }
    do {
      try Interruption.install()
      if let fault = words.unknownVerb { throw fault }
      var command = try parseAsRoot(words.arguments)
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

  /// Ends the process at once: what exit() runs would take OpenSSL apart while
  /// threads that have handed over their result still free what they used.
  private static func end(_ status: ExitStatus) -> Never {
    OpenLakes.close()
    fflush(nil)
    _exit(status.rawValue)
  }

  /// Says what went wrong, in one line, and ends the process.
  private static func leave(with error: any Error) -> Never {
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
    Output.lines(isHelp ? HelpText.page(of: words.command, width: Output.Stream.data.size.columns) : text)
    Output.flush()
    end(.ok)
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
