// Where the bytes of a parquet file come from, and what is wrong with them.

package import Base

/// Bytes that can be read at any place: a file on this machine, or one that a
/// server gives pieces of.
package protocol ByteSource: Sendable {
  /// What messages call it: a path or an address without secrets.
  var name: String { get }
  var byteCount: Int { get }

  /// Fills `bytes` from `offset` on.
  ///
  /// - Parameters:
  ///   - bytes: What is to be filled, all of it.
  ///   - offset: Where the first byte lies; the last lies within `byteCount`.
  /// - Throws: ``TarnError``, `.integrity` where there are fewer bytes than were
  ///   promised.
  func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws
}

extension InputFile: ByteSource {
  package var name: String { path }
}

/// Why a file, or a column of it, is not read: one line, the cause alone.
struct ParquetFault: Error {
  let cause: String
  let hint: String?

  init(_ cause: String, hint: String? = nil) { (self.cause, self.hint) = (cause, hint) }

  /// Something that is right in other readers, and that this one has not.
  static func refused(_ what: String, hint: String) -> ParquetFault {
    ParquetFault("\(what) is not read by tarn", hint: hint)
  }
}

/// Memory that is taken once and grows, for the bytes of pages.
///
/// Its owner alone reads and writes it, and holds no address into it beyond the
/// next ``reserve(_:)``.
@safe final class ByteStore {
  private(set) var start = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
  private(set) var capacity = 64

  deinit { unsafe start.deallocate() }

  /// Makes room for `count` bytes, `0...`.
  ///
  /// - Parameters:
  ///   - count: How many.
  ///   - kept: Bytes of what is there that move to the front, at most `count`; the
  ///     others are lost.
  func reserve(_ count: Int, keeping kept: Range<Int> = 0..<0) {
    guard count > capacity else {
      if kept.lowerBound > 0 { unsafe start.copyMemory(from: start + kept.lowerBound, byteCount: kept.count) }
      return
    }
    let wider = UnsafeMutableRawPointer.allocate(byteCount: count + min(count / 4, 1 << 20), alignment: 64)
    unsafe wider.copyMemory(from: start + kept.lowerBound, byteCount: kept.count)
    unsafe start.deallocate()
    unsafe (start, capacity) = (wider, count + min(count / 4, 1 << 20))
  }
}

/// The bytes of one stretch of a source, read in order and in large pieces.
@safe final class ByteWindow {
  private let source: any ByteSource
  /// Where the stretch lies.
  let range: Range<Int>
  private let store = ByteStore()
  /// Bytes of memory that it takes.
  var heldByteCount: Int { store.capacity }
  /// What of the source is in memory.
  private var held: Range<Int>

  /// Bytes that are read at once, at least.
  private static let pieceByteCount = 256 << 10

  init(_ source: any ByteSource, _ range: Range<Int>) {
    (self.source, self.range) = (source, range)
    held = range.lowerBound..<range.lowerBound
  }

  /// The bytes of a place.
  ///
  /// - Parameters:
  ///   - offset: Where they lie, within the stretch.
  ///   - count: How many; those beyond the stretch are an error.
  /// - Returns: Their address, good until the next call.
  /// - Throws: ``ParquetFault`` beyond the stretch; ``TarnError``.
  func bytes(at offset: Int, count: Int) throws -> UnsafeRawBufferPointer {
    guard range.contains(offset) || offset == range.upperBound, count >= 0, count <= range.upperBound - offset else {
      throw ParquetFault("a page reaches beyond its column's bytes")
    }
    let wanted = offset..<(offset + count)
    if wanted.lowerBound < held.lowerBound || wanted.upperBound > held.upperBound {
      // What comes next is most often what follows.
      let upper = min(max(wanted.upperBound, offset + Self.pieceByteCount), range.upperBound)
      let isHeld = held.contains(offset)
      let kept = isHeld ? (offset - held.lowerBound)..<held.count : 0..<0
      store.reserve(upper - offset, keeping: kept)
      held = offset..<offset
      try unsafe source.read(
        into: UnsafeMutableRawBufferPointer(start: store.start + kept.count, count: upper - offset - kept.count),
        at: offset + kept.count)
      held = offset..<upper
    }
    return unsafe UnsafeRawBufferPointer(start: store.start + (offset - held.lowerBound), count: count)
  }

  /// The bytes from a place on, as many as there are and at most `count`.
  func upTo(_ count: Int, at offset: Int) throws -> UnsafeRawBufferPointer {
    unsafe try bytes(at: offset, count: max(0, min(count, range.upperBound - offset)))
  }
}
