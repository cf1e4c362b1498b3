// Exit codes: the one switch from errors to what a script sees.

internal import ArgumentParser
internal import Base
internal import Lake

/// What tarn ends with; an unknown code is a failure.
enum ExitStatus: Int32 {
  case ok = 0
  case failure = 1
  case partial = 3
  case noLake = 10
  case locked = 11
  case otherSchema = 12
  case integrity = 20
  case inputsMissing = 21
  case differs = 24
  case belowRequirement = 25
  case disk = 28
  case usage = 64
  case temporary = 75
  case interrupted = 130
  case terminated = 143

  /// Whether the same command may fare better later: not where bytes are wrong, inputs are
  /// nowhere or the command is.
  var isWorthAnotherTry: Bool { !TaskFailure.finalStatuses.contains(Int(rawValue)) }

  /// The table of DESIGN's section 5, as `--help` shows it.
  static let help = """
    EXIT STATUS
      0 ok, 1 failure, 3 partial (some shards failed), 10 no lake, 11 locked,
      12 catalog of another schema than this tarn's, 20 integrity failure
      found, 21 inputs missing, 24 rebuild differs, 25 recall below what was
      required, 28 disk or budget, 64 usage, 75 temporary network failure,
      130 interrupted, 143 terminated.
    """
}

/// An outcome that is not an exception but ends with a code of its own.
struct Outcome: Error {
  let status: ExitStatus
  /// One line for stderr; nil when everything was said already.
  let message: String?
  /// What to do about it, one line; nil when there is nothing useful to say.
  let hint: String?

  init(_ status: ExitStatus, _ message: String? = nil, hint: String? = nil) {
    self.status = status
    self.message = message
    self.hint = hint
  }
}

/// An error as the user meets it: one line and a code.
struct Failure {
  let status: ExitStatus
  let line: String?
  private let message: String
  private let hint: String?

  /// Describes an error; nil for those of the argument parser, which speaks
  /// for itself.
  init?(_ error: any Error) {
    switch error {
    case let error as TarnError:
      self.init(Failure.status(of: error.code), error.message, error.hint)
    case let error as Outcome:
      self.init(error.status, error.message, error.hint)
    case is CancellationError:
      self.init(Interruption.status, TarnError.interrupted.message, TarnError.interrupted.hint)
    case is ExitCode, is ValidationError, is CleanExit: return nil
    default:
      // The parser's own errors have no public type; they describe usage.
      guard Tarn.exitCode(for: error).rawValue == ExitCode.failure.rawValue else { return nil }
      self.init(.failure, "\(error)", nil)
    }
  }

  private init(_ status: ExitStatus, _ message: String?, _ hint: String?) {
    self.status = status
    self.message = message ?? ""
    self.hint = hint
    line = message.map { hint == nil ? $0 : "\($0); \(hint ?? "")" }
  }

  /// The error as a JSON object.
  var json: [String: JSONValue] {
    ["exit": .integer(Int64(status.rawValue)), "message": .string(message), "hint": hint.map { .string($0) } ?? .null]
  }

  private static func status(of code: TarnError.Code) -> ExitStatus {
    switch code {
    case .noLake: .noLake
    case .locked: .locked
    case .schemaNewer, .schemaOlder: .otherSchema
    case .usage, .unfit, .conflict, .notFound, .untrusted: .usage
    case .integrity, .badFeatures: .integrity
    case .inputsMissing, .absent: .inputsMissing
    case .temporary: .temporary
    case .diskFull: .disk
    case .differs: .differs
    case .interrupted: Interruption.status
    case .refused, .tls, .io, .database, .engine: .failure
    }
  }
}
