// What a terminal sends, told apart: characters that were typed, and the sequences of keys that have none.

/// Takes sequences out of what comes from a keyboard, wherever it is cut into pieces.
///
/// - SeeAlso: ECMA-48, 5.4 (control sequences)
package struct KeyReader: Sendable {
  private enum State { case text, escape, single, control }

  private var state = State.text

  package init() {}

  /// Takes what came; F2 is ESC O Q, and no Q.
  ///
  /// - Parameter bytes: What came; nothing when for a while nothing has, and an Escape was the key of that name.
  /// - Returns: The characters in it.
  package mutating func characters(in bytes: some Sequence<UInt8>) -> [UInt8] {
    var found: [UInt8] = []
    var isEmpty = true
    for byte in bytes {
      isEmpty = false
      switch (state, byte) {
      case (_, 0x1B): state = .escape
      case (.text, _): found.append(byte)
      case (.escape, UInt8(ascii: "[")): state = .control
      case (.escape, UInt8(ascii: "O")): state = .single
      // The console's F1 to F5 are ESC [ [ and a letter.
      case (.control, UInt8(ascii: "[")): state = .single
      case (.control, 0x20..<0x40): break
      default: state = .text
      }
    }
    if isEmpty, state == .escape { state = .text }
    return found
  }
}
