// How the state of a long computation is kept on disk, so that a killed run
// goes on where it was.
//
// Layout, little-endian: 8 bytes of magic; 32 bytes, the fingerprint of the
// computation; then its fields in order, each a 64-bit count of elements and
// the elements; last, 32 bytes, the SHA-256 of all before.

internal import Base
internal import Foundation
package import Logging

/// What becomes of a state that an earlier run saved.
package enum SavedState {
  /// Bytes of a file with so many fields, of so many bytes together.
  static func byteCount(fields: Int, holding byteCount: Int) -> Int { 8 + 32 + 8 * fields + byteCount + 32 }

  /// Reads a saved state.
  ///
  /// - Parameters:
  ///   - logger: Gets a warning where what was saved cannot be used.
  ///   - load: Reads it.
  /// - Returns: The state; nil where there is none, or one that is damaged or of another computation: then that
  ///   step begins anew.
  /// - Throws: ``TarnError`` where it is there and cannot be read: hours of work may lie in it.
  package static func usable<State>(_ logger: Logger, _ load: () throws -> State) throws -> State? {
    do {
      return try load()
    } catch let error as TarnError where error.code == .inputsMissing {
      return nil
    } catch let error as TarnError where error.code == .integrity {
      logger.warning("\(error.message); starting that step over")
      return nil
    }
  }
}

/// Writes the fields of a state.
internal struct StateWriter: ~Copyable {
  private var file: DurableFile
  private var hasher: Sha256

  init(creating temporaryPath: String, magic: String, fingerprint: ContentDigest) throws {
    precondition(magic.utf8.count == 8, "a magic has eight bytes")
    let head = Array(magic.utf8) + fingerprint.bytes
    var file = try DurableFile(creating: temporaryPath)
    unsafe try file.write(head.span.bytes)
    self.file = file
    var hasher = Sha256()
    unsafe hasher.update(head.span.bytes)
    self.hasher = hasher
  }

  mutating func write<Element: BitwiseCopyable>(_ field: [Element]) throws {
    unsafe try write([UInt64(field.count)].span.bytes)
    unsafe try write(field.span.bytes)
  }

  private mutating func write(_ bytes: RawSpan) throws {
    try file.write(bytes)
    hasher.update(bytes)
  }

  consuming func finish(as path: String) throws -> ContentDigest {
    unsafe try file.write(hasher.finalize().bytes.span.bytes)
    return try file.finish(as: path)
  }
}

/// Reads the fields of a state back, having verified all bytes.
internal struct StateReader {
  private let data: Data
  private var position: Int
  private let path: String

  init(_ path: String, magic: String, fingerprint: ContentDigest) throws {
    self.path = path
    // None that is there, and one that cannot be read, are two things.
    let descriptor = try Disk.openInput(path).descriptor
    close(descriptor)
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
    } catch {
      throw TarnError(.io, "cannot read the saved state \(path)", hint: "run the same command again")
    }
    position = 40
    guard data.count >= 72, Array(data[0..<8]) == Array(magic.utf8) else {
      throw TarnError(.integrity, "\(path) is not a saved state of this kind", hint: "remove it to start over")
    }
    guard Array(data[8..<40]) == fingerprint.bytes else {
      throw TarnError(
        .integrity, "\(path) belongs to a computation with other inputs or parameters",
        hint: "remove it to start over")
    }
    var hasher = Sha256()
    unsafe data.withUnsafeBytes { unsafe hasher.update(RawSpan(_unsafeBytes: $0).extracting(0..<(data.count - 32))) }
    guard Array(data.suffix(32)) == hasher.finalize().bytes else {
      throw TarnError(.integrity, "\(path) is damaged", hint: "remove it to start over")
    }
  }

  /// The error that what is read is not of the sizes that it must have.
  static func misfit(_ path: String) -> TarnError {
    TarnError(.integrity, "\(path) has fields of other sizes", hint: "remove it to start over")
  }

  mutating func read<Element: BitwiseCopyable>(_: Element.Type = Element.self) throws -> [Element] {
    let count = try Int(clamping: word())
    let size = MemoryLayout<Element>.stride
    guard count <= (data.count - 32 - position) / max(size, 1) else {
      throw TarnError(.integrity, "\(path) ends early", hint: "remove it to start over")
    }
    defer { position += count * size }
    let range = position..<(position + count * size)
    return unsafe [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
      unsafe data.copyBytes(to: UnsafeMutableRawBufferPointer(buffer), from: range)
      initialized = count
    }
  }

  private mutating func word() throws -> UInt64 {
    guard position + 8 <= data.count - 32 else {
      throw TarnError(.integrity, "\(path) ends early", hint: "remove it to start over")
    }
    defer { position += 8 }
    return (0..<8).reduce(0) { $0 | UInt64(data[position + $1]) << (8 * UInt64($1)) }
  }
}
