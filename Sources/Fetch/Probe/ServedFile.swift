// A file on a server, read in pieces where a reader of its format looks: for formats of
// which only the end tells what they hold.

package import Base
internal import Features

/// The pieces of a file that were asked for, and who asks.
///
/// Blocks whoever reads it. `@unchecked Sendable`: it is used by the thread that made it alone, as its
/// ``RangeReader`` is.
package final class ServedFile: @unchecked Sendable {
  private let mirror: FetchMirror
  private let byteCount: Int
  private let reader: RangeReader
  private var pieces: [(first: Int, bytes: [UInt8])] = []
  private var askedByteCount = 0

  /// Bytes of the end that are asked for at once: the directory of an archive, the footer of a table.
  private static let tailByteCount = 1 << 16
  /// Bytes elsewhere that are asked for at least.
  private static let pieceByteCount = 1 << 14
  /// The most that is asked for to know what a file holds.
  private static let mostByteCount = 64 << 20

  /// A file of which nothing was asked yet.
  ///
  /// - Parameters:
  ///   - mirror: Where it is.
  ///   - byteCount: Its length, as the server says.
  ///   - reader: Asks; of the thread that reads.
  package init(_ mirror: FetchMirror, byteCount: Int, by reader: RangeReader) {
    (self.mirror, self.byteCount, self.reader) = (mirror, byteCount, reader)
  }

  /// The file, to be read by the thread that made this.
  package var input: InputFile {
    unsafe InputFile(named: mirror.redacted, byteCount: byteCount) { bytes, offset in
      try unsafe self.read(into: bytes, at: offset)
    }
  }

  private func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    let count = bytes.count
    guard count > 0 else { return }
    let wanted = offset..<offset + count
    let piece =
      try pieces.first { $0.first <= wanted.lowerBound && wanted.upperBound <= $0.first + $0.bytes.count }
      ?? ask(for: wanted)
    let first = wanted.lowerBound - piece.first
    unsafe bytes.copyBytes(from: piece.bytes[first..<first + count])
  }

  private func ask(for wanted: Range<Int>) throws -> (first: Int, bytes: [UInt8]) {
    let tail = max(0, byteCount - Self.tailByteCount)
    var range = wanted.lowerBound..<min(byteCount, max(wanted.upperBound, wanted.lowerBound + Self.pieceByteCount))
    if range.upperBound > tail { range = min(range.lowerBound, tail)..<byteCount }
    askedByteCount += range.count
    guard askedByteCount <= Self.mostByteCount else {
      throw TarnError(
        .refused,
        "more than \(ByteSize.text(Self.mostByteCount)) of it would have to be read to know what it holds",
        hint: "fetch it with `tarn sync`, which knows")
    }
    let piece = (range.lowerBound, try reader.read(range, of: byteCount, from: mirror))
    pieces.append(piece)
    return piece
  }
}

extension ProbeFinding {
  /// Whether the file is there, begins as it should, and says nothing of its rows before its end.
  ///
  /// - Parameter target: What was asked for.
  /// - Returns: Whether ``completed(for:by:)`` may tell them.
  package func leavesRowsOpen(of target: ProbeTarget) -> Bool {
    guard case .present(byteCount: _?, _) = answer, target.kind != nil, let head else { return false }
    return rowCount == nil && head.rowCount == nil
  }

  /// Asks for the places of a file that say what it holds.
  ///
  /// - Parameters:
  ///   - target: What was asked for.
  ///   - reader: Asks; of this thread.
  /// - Returns: What it found before, with rows and head; the same where the mirror gives out no pieces.
  /// - Throws: ``TarnError`` `.interrupted`.
  package func completed(for target: ProbeTarget, by reader: RangeReader) throws -> ProbeFinding {
    guard case .present(let byteCount?, _) = answer, let kind = target.kind else { return self }
    func answering(_ answer: Answer) -> ProbeFinding {
      ProbeFinding(shardID: shardID, mirrorID: mirrorID, answer: answer, rowCount: nil, head: nil)
    }
    do {
      let file = ServedFile(target.mirror, byteCount: byteCount, by: reader).input
      let found = try FeatureFile.head(of: file, as: kind.format, array: kind.array, dimension: kind.dimension)
      if let fault = found.fault(dimension: kind.dimension, elementType: kind.elementType) {
        return answering(.faulty(fault))
      }
      return ProbeFinding(
        shardID: shardID, mirrorID: mirrorID, answer: answer, rowCount: found.rowCount, head: found)
    } catch let error as TarnError {
      switch error.code {
      case .interrupted: throw error
      case .temporary: return answering(.unreachable(error.message))
      case .badFeatures:
        let name = "\(target.mirror.redacted): "
        return answering(
          .faulty(error.message.hasPrefix(name) ? String(error.message.dropFirst(name.count)) : error.message))
      // Who has the whole has the shard; what it holds is seen when it comes.
      default: return self
      }
    }
  }
}
