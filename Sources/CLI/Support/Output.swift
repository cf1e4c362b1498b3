// The one door to stdout (data) and stderr (everything else). Every text that leaves
// goes through here and is made fit for a terminal on the way, wherever it came
// from: no caller has to know which of its texts are somebody else's.

internal import Base
internal import Foundation
internal import Synchronization

/// The two streams; lines to stdout are buffered and written whole.
enum Output {
  private static let buffer = Mutex<[UInt8]>([])

  // MARK: Data

  /// A line of data, to stdout; what would end it or is hidden does not pass.
  static func line(_ text: String) { append(text.printableLine) }

  /// Text of several lines, to stdout; what else is hidden does not pass.
  static func lines(_ text: String) { append(text.printableLines) }

  /// A line of CSV, to stdout.
  static func csv(_ fields: [String]) { append(fields.map(\.csvField).joined(separator: ",")) }

  /// A JSON document, to stdout; what is hidden is escaped, so that nothing is lost.
  static func json(_ object: [String: JSONValue]) { json(text: JSONValue.object(object).text) }

  /// As ``json(_:)``, for text that is JSON already, or a piece of such.
  static func json(text: String) { append(text.escapedJSON) }

  /// Clears the terminal that shows stdout.
  static func clearScreen() { append("\u{1B}[2J\u{1B}[H") }

  // MARK: For people

  /// A line for people, to stderr.
  static func diagnostic(_ text: String) { tell(text.printableLine + "\n") }

  /// Text of several lines for people, to stderr.
  static func explanation(_ text: String) { tell(text.printableLines + "\n") }

  /// Puts lines in the place of others on the terminal that shows stderr; the cursor
  /// stays in the last of them.
  ///
  /// - Parameters:
  ///   - lineCount: How many lines are there now.
  ///   - lines: The new ones, each no wider than the terminal.
  static func redraw(_ lineCount: Int, as lines: [String]) {
    let erasing = "\r\u{1B}[2K" + String(repeating: "\u{1B}[1A\u{1B}[2K", count: max(0, lineCount - 1))
    tell(erasing + lines.map(\.printableLine).joined(separator: "\n"))
  }

  // MARK: Writing

  private static func append(_ line: String) {
    let isFull = buffer.withLock { bytes in
      bytes.append(contentsOf: line.utf8)
      bytes.append(0x0A)
      return bytes.count > 1 << 16
    }
    if isFull { flush() }
  }

  private static func tell(_ text: String) { write(Array(text.utf8), to: STDERR_FILENO) }

  /// Writes what is buffered; a reader that went away ends the process quietly.
  static func flush() {
    let bytes = buffer.withLock { bytes in
      let taken = bytes
      bytes.removeAll(keepingCapacity: true)
      return taken
    }
    if !write(bytes, to: STDOUT_FILENO) { _exit(ExitStatus.failure.rawValue) }
  }

  /// Whether stdout takes bytes without waiting for its reader.
  static var isReady: Bool {
    var asked = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
    return poll(&asked, 1, 0) == 1 && asked.revents & Int16(POLLOUT) != 0
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
