// A line of an encoder's program, read. Pure.

internal import Base

/// What a program says to a query.
enum EncoderAnswer: Equatable {
  case vector([Float])
  /// Why there is none, in the encoder's words or ours; the program goes on.
  case failure(String)
}

/// A line with what it may say of whose turn it is.
struct EncoderLine: Equatable {
  let answer: EncoderAnswer
  /// The query that it says it answers; nil where it does not say.
  let id: Int64?

  /// Reads a line; nil for what is no answer.
  ///
  /// - Parameter bytes: The line, without its end.
  init?(_ bytes: [UInt8]) {
    // Python's json writes NaN and Infinity, which are no JSON.
    let value = (try? JSONValue(reading: bytes)) ?? (try? JSONValue(reading: Self.withoutNames(bytes)))
    guard let value, case .object(let members) = value else { return nil }
    switch members["id"] {
    case nil, .null: id = nil
    case .integer(let number): id = number
    default: return nil
    }
    switch (members["embedding"], members["error"] ?? .null) {
    case (nil, .string(let text)), (.null, .string(let text)):
      answer = .failure(text.isEmpty ? "an error without words" : text.printable(atMost: 160))
    case (.array(let elements), .null): answer = Self.vector(elements)
    default: return nil
    }
  }

  /// A vector's elements.
  ///
  /// - Returns: The vector, or what is wrong with it.
  static func vector(_ elements: [JSONValue]) -> EncoderAnswer {
    var vector: [Float] = []
    vector.reserveCapacity(elements.count)
    for element in elements {
      switch element {
      case .number(let number): vector.append(Float(number))
      case .integer(let number): vector.append(Float(number))
      // What JavaScript writes for a number that is none.
      case .null: return .failure("a vector with a number that is not finite")
      default: return .failure("a vector of something else than numbers")
      }
    }
    return vector.allSatisfy(\.isFinite) ? .vector(vector) : .failure("a vector with a number that is not finite")
  }

  /// A text with `null` for the numbers that JSON has no way to write.
  private static func withoutNames(_ bytes: [UInt8]) -> [UInt8] {
    guard let text = String(validating: bytes, as: UTF8.self) else { return bytes }
    return Array(
      text.replacing("-Infinity", with: "null").replacing("Infinity", with: "null").replacing("NaN", with: "null").utf8)
  }
}

extension String {
  /// At most so many characters of a text, none of which is hidden.
  func printable(atMost count: Int) -> String {
    let text = printable
    return text.count <= count ? text : text.prefix(count) + "…"
  }
}
