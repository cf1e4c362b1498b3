// Who makes vectors of words and pictures: as the command line or the environment says,
// and never a lake.

internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// Options of verbs that take words.
struct EncoderOptions: ParsableArguments {
  /// Above them in `--help`.
  static let title = "Encoder"

  @Option(
    help: ArgumentHelp(
      "Who makes vectors of texts and pictures: a program that speaks JSON lines, or an https:// address like /v1/embeddings "
        + "(default: TARN_ENCODER).", valueName: "command|url"))
  var encoder: String?

  @Option(help: ArgumentHelp("The model that a service is asked for.", valueName: "name"))
  var encoderModel: String?

  @Option(help: ArgumentHelp("How long an answer of the encoder may take (default: 2m).", valueName: "duration"))
  var encoderTimeout: TimeSpan?

  @Flag(help: "Give the encoder's vectors unit length; else one that has not is refused.")
  var normalise = false

  func validate() throws {
    if let encoderTimeout, encoderTimeout.duration <= .zero {
      throw ValidationError("--encoder-timeout is more than 0.")
    }
  }

  /// Whether any of these was given.
  var isGiven: Bool { encoder != nil || encoderModel != nil || encoderTimeout != nil || normalise }

  /// Whether an encoder is named, here or in the environment.
  var isNamed: Bool {
    isGiven || !(ProcessInfo.processInfo.environment[EncoderName.variable] ?? "").isEmpty
  }

  /// The encoder.
  ///
  /// - Returns: It; nothing is started or asked yet.
  /// - Throws: ``TarnError`` `.usage` without one.
  func make() throws -> any FeatureEncoder {
    let environment = ProcessInfo.processInfo.environment
    guard let name = encoder ?? environment[EncoderName.variable], !name.isEmpty else {
      throw TarnError(
        .usage, "no encoder is named, who would make vectors of texts and pictures",
        hint: "name one with --encoder or \(EncoderName.variable); docs/WORDS.md says what it has to do, "
          + "Examples/encoders has two")
    }
    var rules = EncoderRules()
    rules.timeout = encoderTimeout?.duration ?? .seconds(120)
    return try EncoderName.encoder(
      name, model: encoderModel, rules: rules, configuration: .ofTool, environment: environment)
  }
}
