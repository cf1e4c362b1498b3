// What is piped into a command, where `-` stands for a file.

internal import Base
internal import Foundation

/// Standard input.
enum StandardInput {
  /// All of it, as text.
  ///
  /// - Parameter limit: The most bytes that it may have.
  /// - Returns: The text.
  /// - Throws: ``TarnError`` `.usage` when it is longer or not UTF-8; `.io`.
  static func text(limit: Int) throws -> String {
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count <= limit {
      let count = piece.withUnsafeMutableBytes { read(STDIN_FILENO, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Disk.systemError("read", "standard input") }
      guard count > 0 else {
        guard let text = String(validating: bytes, as: UTF8.self) else { break }
        return text
      }
      bytes += piece.prefix(count)
    }
    throw TarnError(.usage, "standard input has more than \(ByteSize.text(limit)), or is not UTF-8")
  }
}
