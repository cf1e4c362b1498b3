// Keys without Enter, and the terminal's settings as they were once they are not read any more.

internal import Base
internal import Foundation
internal import Synchronization

/// The keyboard of the terminal on stdin.
enum Keyboard {
  /// The settings that were there before, while others are in force.
  private static let before = Mutex<termios?>(nil)
  private static let reader = Mutex(KeyReader())

  /// Whether this job is the one that the terminal of stdin obeys.
  private static var isInFront: Bool { isatty(STDIN_FILENO) == 1 && tcgetpgrp(STDIN_FILENO) == getpgrp() }

  /// Has keys come one by one, without being shown.
  ///
  /// Ctrl-C stays what it is. Nothing where stdin is no terminal of this job's.
  static func listen() {
    before.withLock { before in
      var settings = termios()
      guard before == nil, isInFront, tcgetattr(STDIN_FILENO, &settings) == 0 else { return }
      before = settings
      settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
      // Stopped, or ended by SIGQUIT, it would leave its screen behind.
      withUnsafeMutableBytes(of: &settings.c_cc) { for key in [VSUSP, VQUIT] { $0[Int(key)] = 0 } }
      tcsetattr(STDIN_FILENO, TCSADRAIN, &settings)
    }
  }

  /// The characters that were typed since the last time; keys without one are left out.
  static var keys: [UInt8] {
    // Behind another job reading would stop this one.
    guard before.withLock({ $0 != nil }), isInFront else { return [] }
    var asked = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
    var bytes = [UInt8](repeating: 0, count: 1 << 10)
    let count = poll(&asked, 1, 0) == 1 ? read(STDIN_FILENO, &bytes, bytes.count) : 0
    return reader.withLock { $0.characters(in: bytes.prefix(max(0, count))) }
  }

  /// Puts the settings back; behind another job they are that one's.
  static func restore() {
    before.withLock { before in
      guard var settings = before else { return }
      before = nil
      if isInFront { tcsetattr(STDIN_FILENO, TCSADRAIN, &settings) }
    }
  }
}
