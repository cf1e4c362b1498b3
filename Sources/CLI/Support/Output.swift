// What goes to stdout (data) and to stderr (everything else).

internal import Base
internal import Foundation
internal import Synchronization

/// The two streams; lines to stdout are buffered and written whole.
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

  /// Writes what is buffered; a reader that went away ends the process quietly.
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
