// What goes to stdout (data) and to stderr (everything else).

internal import Foundation
internal import Synchronization

/// The two streams. Lines to stdout are buffered and written whole.
enum Output {
  private static let buffer = Mutex<[UInt8]>([])

  /// A line of data, to stdout.
  static func line(_ text: String) {
    let isFull = buffer.withLock { bytes in
      bytes.append(contentsOf: text.utf8)
      bytes.append(0x0A)
      return bytes.count > 1 << 16
    }
    if isFull { flush() }
  }

  /// A JSON document on a line of its own, to stdout.
  static func json(_ object: [String: JSONValue]) { line(JSONValue.object(object).text) }

  /// A line for people, to stderr.
  static func diagnostic(_ text: String) { write(Array((text + "\n").utf8), to: STDERR_FILENO) }

  /// Text for the terminal without a line end, to stderr.
  static func terminal(_ text: String) { write(Array(text.utf8), to: STDERR_FILENO) }

  /// Writes what is buffered. Whoever reads no longer ends the process quietly.
  static func flush() {
    let bytes = buffer.withLock { bytes in
      let taken = bytes
      bytes.removeAll(keepingCapacity: true)
      return taken
    }
    if !write(bytes, to: STDOUT_FILENO) { _exit(ExitStatus.failure.rawValue) }
  }

  @discardableResult
  private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        return false
      }
      rest = rest.dropFirst(count)
    }
    return true
  }
}

/// A JSON value whose text is canonical: keys sorted, no white space.
enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int64)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  static func count(_ value: Int) -> JSONValue { .integer(Int64(value)) }
  static func optional(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }

  /// The canonical text.
  var text: String {
    switch self {
    case .null: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .integer(let value): return String(value)
    case .number(let value): return value.isFinite ? "\(value)" : "null"
    case .string(let value): return JSONValue.quoted(value)
    case .array(let values): return "[" + values.map(\.text).joined(separator: ",") + "]"
    case .object(let members):
      let pairs = members.sorted { $0.key < $1.key }.map { JSONValue.quoted($0.key) + ":" + $0.value.text }
      return "{" + pairs.joined(separator: ",") + "}"
    }
  }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
