// The options of the verbs that may run commands which write shards.

internal import ArgumentParser
internal import Base
internal import Lake

/// Whether commands are run, and for how long.
struct CommandOptions: ParsableArguments {
  /// Above them in `--help`.
  static let title = "Mirrors that are commands"

  @Flag(
    help:
      "Run the commands that mirrors name, as this user. Know them before you say it: a lake from elsewhere has others."
  )
  var allowCommands = false

  @Option(
    help: ArgumentHelp("With --allow-commands: how long one command may run (default: 6h).", valueName: "time"))
  var commandTimeout: TimeSpan?

  func validate() throws {
    guard allowCommands || commandTimeout == nil else {
      throw ValidationError("--command-timeout goes with --allow-commands.")
    }
    guard commandTimeout?.duration != .zero else { throw ValidationError("--command-timeout is more than 0.") }
  }

  /// How commands are run; nil for not at all.
  var rules: CommandRules? {
    guard allowCommands else { return nil }
    var rules = CommandRules()
    if let commandTimeout { rules.timeout = commandTimeout.duration }
    return rules
  }

  /// Has workers run commands, if that is said; what was said before stays.
  func applied(to scripts: TaskScripts) -> TaskScripts {
    var scripts = scripts
    if allowCommands, !scripts.workerOptions.contains("--allow-commands") { scripts.workerOptions += words }
    return scripts
  }

  /// The same for a worker.
  var words: [String] {
    guard allowCommands else { return [] }
    return ["--allow-commands"]
      + (commandTimeout.map { ["--command-timeout", "\(Int($0.duration.seconds.rounded(.up)))s"] } ?? [])
  }
}
