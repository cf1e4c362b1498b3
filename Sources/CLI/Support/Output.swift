// The one door to stdout (data) and stderr (everything else). Every text that leaves
// goes through here and is made fit for a terminal on the way, wherever it came
// from: no caller has to know which of its texts are somebody else's.

internal import Base
internal import Foundation
internal import Synchronization

/// The two streams; lines to stdout are buffered and written whole.
enum Output {
  private static let buffer = Mutex<[UInt8]>([])
  /// Lines of progress that the terminal of stderr shows now, under everything else.
  private static let liveLineCount = Mutex(0)

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

  // MARK: A screen

  /// Whether the terminal of stdout shows a screen of its own, without what stood there before.
  private static let isScreen = Mutex(false)

  /// Puts lines in the place of all that the terminal of stdout shows; what stood there comes back with ``leaveScreen()``.
  ///
  /// - Parameter lines: Each narrower than the terminal, and fewer than it has rows.
  static func screen(_ lines: [String]) {
    let begin = isScreen.withLock { isScreen in
      defer { isScreen = true }
      return isScreen ? "" : "\u{1B}[?1049h\u{1B}[?25l"
    }
    // Line by line over what is there, in one write: nothing is ever empty on the way.
    // A terminal of one row would roll it away.
    let end = lines.count > 1 ? "\u{1B}[K\r\n" : ""
    let text = lines.map { $0.printableLine + end }.joined()
    _ = write(Array("\(begin)\u{1B}[?2026h\u{1B}[H\(text)\u{1B}[J\u{1B}[?2026l".utf8), to: STDOUT_FILENO)
  }

  /// Gives the terminal back as it was; nothing where there is no screen.
  static func leaveScreen() {
    isScreen.withLock { isScreen in
      guard isScreen else { return }
      isScreen = false
      _ = write(leavingScreen, to: STDOUT_FILENO)
    }
    Keyboard.restore()
  }

  private static let leavingScreen = Array("\u{1B}[?25h\u{1B}[?1049l".utf8)

  // MARK: For people

  /// A line for people, to stderr.
  ///
  /// Progress that is being shown is taken away first: nothing is ever written behind it.
  static func diagnostic(_ text: String) {
    leaveScreen()
    liveLineCount.withLock { count in
      tell(erasure(&count) + text.printableLine.shortened + "\n")
    }
  }

  /// A warning of what is lost or damaged, or must go, which ``GlobalOptions/quiet`` leaves in.
  static func warn(_ text: String) { diagnostic("tarn: warning: \(text)") }

  /// The last line for people of a process that ends where it is.
  ///
  /// Nobody waits for a reader, or for a thread that waits for one: then it is not said.
  static func parting(_ text: String) {
    if takesBytes(STDOUT_FILENO) {
      isScreen.withLockIfAvailable { isScreen in
        if isScreen { _ = write(leavingScreen, to: STDOUT_FILENO) }
        isScreen = false
      }
    }
    Keyboard.restore()
    guard takesBytes(STDERR_FILENO) else { return }
    liveLineCount.withLockIfAvailable { count in tell(erasure(&count) + text.printableLine.shortened + "\n") }
  }

  /// Puts lines of progress in the place of the last ones, on the terminal that shows
  /// stderr; the cursor stays in the last of them.
  ///
  /// - Parameter lines: Each no wider than the terminal; none to take them away.
  static func progress(_ lines: [String]) {
    liveLineCount.withLock { count in
      guard count > 0 || !lines.isEmpty else { return }
      tell(erasure(&count) + lines.map(\.printableLine).joined(separator: "\n"))
      count = lines.count
    }
  }

  private static func erasure(_ count: inout Int) -> String {
    defer { count = 0 }
    guard count > 0 else { return "" }
    return "\r\u{1B}[2K" + String(repeating: "\u{1B}[1A\u{1B}[2K", count: count - 1)
  }

  // MARK: The terminal

  /// A stream, as far as it leads to somebody who watches.
  enum Stream {
    case data, people

    fileprivate var descriptor: Int32 { self == .data ? STDOUT_FILENO : STDERR_FILENO }

    /// Whether it leads to a terminal on which lines can be drawn anew.
    var isLive: Bool {
      let terminal = ProcessInfo.processInfo.environment["TERM"] ?? ""
      return isatty(descriptor) == 1 && !["", "dumb"].contains(terminal)
    }

    /// Whether this job is the one that the terminal obeys, as far as there is such a one.
    var isInFront: Bool {
      let group = tcgetpgrp(descriptor)
      return group < 0 || group == getpgrp()
    }

    /// Columns and rows; 80 and 24 where there is no terminal, or it does not say.
    var size: (columns: Int, rows: Int) {
      var size = winsize()
      guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else { return (80, 24) }
      return (Int(size.ws_col), Int(size.ws_row))
    }
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

  /// Writes what is buffered.
  ///
  /// A reader that went away, as in `tarn sql … | head`, ends the process as it ends other
  /// tools, by SIGPIPE. Any other failure ends it with a line that says so.
  static func flush() {
    let bytes = buffer.withLock { bytes in
      let taken = bytes
      bytes.removeAll(keepingCapacity: true)
      return taken
    }
    if let code = write(bytes, to: STDOUT_FILENO) { end(code) }
  }

  private static func end(_ code: Int32) -> Never {
    if code == EPIPE {
      signal(SIGPIPE, SIG_DFL)
      raise(SIGPIPE)
    }
    let reason = String(cString: strerror(code))
    diagnostic("tarn: cannot write to standard output: \(reason); what was printed so far is not whole")
    _exit((code == ENOSPC ? ExitStatus.disk : .failure).rawValue)
  }

  /// Whether stdout takes bytes without waiting for its reader.
  static var isReady: Bool { takesBytes(STDOUT_FILENO) }

  private static func takesBytes(_ descriptor: Int32) -> Bool {
    var asked = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return poll(&asked, 1, 0) == 1 && asked.revents & Int16(POLLOUT) != 0
  }

  /// Writes bytes; the code of what the system refused, if it did.
  @discardableResult
  private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Int32? {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        return errno
      }
      rest = rest.dropFirst(count)
    }
    return nil
  }
}

extension String {
  /// The text as a line for people holds it: of a name or an address that is longer than any line its
  /// middle is left out.
  fileprivate var shortened: String {
    guard utf8.count > 4_000, count > 3_000 else { return self }
    return "\(prefix(2_000))…\(suffix(900))"
  }
}
