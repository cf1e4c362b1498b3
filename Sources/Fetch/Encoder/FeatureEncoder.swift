// What turns words or a picture into a query, whoever does it: a program that is asked
// line by line, or a service. tarn hosts no model (docs/WORDS.md).

package import Base
internal import Foundation

/// What a vector is wanted of.
package enum EncoderQuery: Sendable, Equatable {
  case text(String)
  /// A picture's file, by its absolute path.
  case image(path: String)

  /// The most bytes of a text.
  package static let mostTextByteCount = 64 << 10
}

/// Turns texts and pictures into vectors.
package protocol FeatureEncoder: Sendable {
  /// Encodes queries; blocks the calling thread. Any number of threads may ask at a time.
  ///
  /// - Parameters:
  ///   - queries: What to encode.
  ///   - cancellation: Ends the wait.
  /// - Returns: For each query its vector as it came, of any length, or why there is none;
  ///   see ``EncodedVector``.
  /// - Throws: ``TarnError`` `.interrupted`.
  func encode(
    _ queries: [EncoderQuery], cancellation: Cancellation
  ) throws(TarnError) -> [Result<[Float], TarnError>]

  /// Ends what was started for it; nothing is encoded any more.
  ///
  /// - Parameter atOnce: Whether a program is killed, and not given time to end.
  func close(atOnce: Bool)
}

/// How an encoder is held to its word.
package struct EncoderRules: Sendable, Equatable {
  /// How long an answer may take, from when it is its query's turn.
  package var timeout: Duration = .seconds(120)
  /// The most bytes of a line of a program, or of one vector of a service.
  package var mostLineByteCount = 4 << 20
  /// Queries that a program or a service has before it at a time.
  package var mostInFlight = 32
  /// Queries that wait for their turn beside those.
  package var mostWaiting = 4_096
  /// How often in a row a program may fail without an answer.
  package var failuresInARow = 3
  /// How long nobody is started then; doubled with each further failure.
  package var firstPause: Duration = .seconds(1)
  package var longestPause: Duration = .seconds(60)
  /// How long a program whose input was closed may take to end, and then one that was told to.
  package var patienceWithEnd: Duration = .seconds(2)
  package var patienceWithSignal: Duration = .milliseconds(500)
  /// How long queries wait for the end of one that was killed; then they fail until it is gone.
  package var patienceWithKilled: Duration = .seconds(10)

  package init() {}
}

/// Who encodes, as a user names it.
package enum EncoderName {
  /// The variable that names an encoder where no option does.
  package static let variable = "TARN_ENCODER"
  /// The variable that holds a service's key.
  package static let keyVariable = "TARN_ENCODER_KEY"

  /// The encoder of a name.
  ///
  /// - Parameters:
  ///   - name: `http://…`, `https://…`, or a program with its arguments.
  ///   - model: The model that a service is asked for; nil for none.
  ///   - rules: How it is held to its word.
  ///   - configuration: How services are asked.
  ///   - environment: The environment.
  /// - Returns: The encoder; nothing is started or asked yet.
  /// - Throws: ``TarnError`` `.usage` for a name that is none.
  package static func encoder(
    _ name: String, model: String?, rules: EncoderRules, configuration: FetchConfiguration,
    environment: [String: String]
  ) throws(TarnError) -> any FeatureEncoder {
    let scheme = name.prefix { $0 != ":" }.lowercased()
    if ["http", "https"].contains(scheme), name.dropFirst(scheme.count).hasPrefix("://") {
      return try ServiceEncoder(
        name, model: model, key: environment[keyVariable], rules: rules, configuration: configuration)
    }
    guard model == nil else {
      throw TarnError(
        .usage, "a model is named for an encoder that is a command", hint: "give it to the command as an argument")
    }
    return try CommandEncoder(name, rules: rules, environment: environment.filter { $0.key != keyVariable })
  }
}

extension TarnError {
  private static let encodersWords = "the encoder says: "

  /// The error that an encoder has nothing for a query and says why.
  static func saidByEncoder(_ words: String) -> TarnError { TarnError(.refused, encodersWords + words) }

  /// Whether an encoder answered, and had nothing for what was asked; else it failed.
  package var isSaidByEncoder: Bool { code == .refused && message.hasPrefix(Self.encodersWords) }
}

/// What is made sure of a vector before it is searched with.
package enum EncodedVector {
  /// How far from 1 a length may be.
  package static let tolerance = 1e-2

  /// Checks a vector.
  ///
  /// - Parameters:
  ///   - vector: As it came.
  ///   - dimension: The elements that it must have.
  ///   - normalises: Whether it is given unit length; else it must have it.
  /// - Returns: What to search with.
  /// - Throws: ``TarnError`` `.refused` saying what is wrong with it.
  package static func checked(
    _ vector: [Float], dimension: Int, normalises: Bool
  ) throws(TarnError) -> [Float] {
    guard vector.count == dimension else {
      throw TarnError(
        .refused, "the encoder gave a vector of \(vector.count.counted("element")), \(dimension) are wanted",
        hint: "encode with the model that the version's features are of")
    }
    guard vector.allSatisfy(\.isFinite) else {
      throw TarnError(.refused, "the encoder gave a vector with a number that is not finite")
    }
    let length = vector.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    guard length > 0 else { throw TarnError(.refused, "the encoder gave a vector of length zero") }
    if normalises { return vector.map { Float(Double($0) / length) } }
    guard abs(length - 1) <= tolerance else {
      throw TarnError(
        .refused, "the encoder gave a vector of length \(Float(length))",
        hint: "give it unit length there, or with --normalise")
    }
    return vector
  }
}
