// What is piped into a command, where `-` stands for a file.

internal import Base
internal import Foundation
internal import Lake

/// Standard input.
enum StandardInput {
  /// All of it, as text.
  ///
  /// - Parameter limit: The most bytes that it may have.
  /// - Returns: The text.
  /// - Throws: ``TarnError`` `.usage` when it is longer or not UTF-8; `.io`.
  static func text(limit: Int) throws -> String {
    guard let text = String(validating: try bytes(limit: limit), as: UTF8.self) else {
      throw TarnError(.usage, "standard input is not UTF-8")
    }
    return text
  }

  /// All of it.
  ///
  /// - Parameter limit: The most bytes that it may have.
  /// - Returns: The bytes.
  /// - Throws: ``TarnError`` `.usage` when it is longer; `.io`.
  static func bytes(limit: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count <= limit {
      let count = piece.withUnsafeMutableBytes { read(STDIN_FILENO, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Disk.systemError("read", "standard input") }
      guard count > 0 else { return bytes }
      bytes += piece.prefix(count)
    }
    throw TarnError(.usage, "standard input has more than \(ByteSize.text(limit))")
  }
}

extension RowIDInput {
  /// The most bytes of ids that are read from standard input.
  private static let longest = 1 << 26

  /// Row ids as a user names them: a file, or `-` for standard input.
  static func named(_ path: String) throws -> RowIDInput {
    path == "-" ? .standardInput(try StandardInput.bytes(limit: longest)) : .file(path)
  }
}
