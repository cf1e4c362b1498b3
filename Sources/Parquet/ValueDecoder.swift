// The values of a page, by whichever encoding, into memory of the caller's.

internal import Base
internal import CParquet

/// The dictionary of a chunk.
///
/// Its bytes are the page reader's, which keeps them as long as itself.
@safe struct ValueDictionary {
  let count: Int
  let bytes: UnsafeRawBufferPointer
  /// Of values that each have a length: where that length stands.
  let places: [UInt32]

  init(_ bytes: UnsafeRawBufferPointer, count: Int, of column: ParquetColumn) throws {
    unsafe self.bytes = bytes
    self.count = count
    if let width = column.width {
      guard column.physicalType != .boolean else { throw ParquetFault("a dictionary of BOOLEAN is none") }
      guard count <= bytes.count / width else { throw ParquetFault("its dictionary is shorter than it says") }
      places = []
      return
    }
    guard count <= bytes.count / 4 else { throw ParquetFault("its dictionary is shorter than it says") }
    var places: [UInt32] = []
    places.reserveCapacity(count)
    var position = 0
    for _ in 0..<count {
      places.append(UInt32(position))
      guard let slice = unsafe bytes.slice(at: position) else {
        throw ParquetFault("its dictionary is shorter than it says")
      }
      position += 4 + slice.count
    }
    self.places = places
  }

  /// The value of an index that is in range.
  func slice(_ index: UInt32) -> UnsafeRawBufferPointer {
    unsafe bytes.slice(at: Int(places[Int(index)])) ?? UnsafeRawBufferPointer(start: nil, count: 0)
  }
}

extension UnsafeRawBufferPointer {
  /// The bytes behind a length of four; nil where they are not there.
  fileprivate func slice(at position: Int) -> UnsafeRawBufferPointer? {
    guard position <= count - 4 else { return nil }
    let length = Int(unsafe loadUnaligned(fromByteOffset: position, as: UInt32.self).littleEndian)
    guard length <= count - 4 - position else { return nil }
    return unsafe UnsafeRawBufferPointer(rebasing: self[(position + 4)..<(position + 4 + length)])
  }
}

/// Reads the values of a page, those that are not null, in order.
@safe struct ValueDecoder {
  private enum Form {
    /// One behind the other.
    case plain
    /// Numbers of runs: dictionary indices, or truth values.
    case indices, bits
    /// A stream for each byte of a value.
    case split
    case deltaIntegers, deltaLengths, deltaBytes
  }

  private let form: Form
  private let bytes: UnsafeRawBufferPointer
  /// Bytes, or with streams values, that were read.
  private var position = 0
  /// Bytes of a value; nil where each has its own length.
  private let width: Int?
  private var runs = unsafe cparquet_runs()
  private let dictionary: ValueDictionary?
  private var indices: [UInt32] = []
  private var delta: DeltaReader?
  private var strings: DeltaStrings?

  /// Indices that are looked up at once.
  private static let blockCount = 4096
  private static let short = ParquetFault("a page ends within its values")

  /// No values.
  init() {
    form = .plain
    unsafe bytes = UnsafeRawBufferPointer(start: nil, count: 0)
    (width, dictionary) = (1, nil)
  }

  /// Begins with the values of a page.
  ///
  /// - Parameters:
  ///   - encoding: How they are written.
  ///   - bytes: The page behind its levels; must outlive the decoder.
  ///   - column: The column.
  ///   - dictionary: The chunk's, if it has one.
  ///   - count: Values and nulls of the page.
  /// - Throws: ``ParquetFault`` for an encoding that the column cannot have or
  ///   that is not read.
  init(
    _ encoding: Encoding, _ bytes: UnsafeRawBufferPointer, of column: ParquetColumn, dictionary: ValueDictionary?,
    atMost count: Int
  ) throws {
    unsafe self.bytes = bytes
    self.dictionary = dictionary
    width = column.width
    switch (encoding, column.physicalType) {
    case (.plain, .boolean):
      form = .bits
      unsafe cparquet_runs_begin_packed(&runs, bytes.baseAddress, bytes.count, 1)
    case (.runs, .boolean):
      form = .bits
      // Behind their length, which nothing needs.
      let skipped = min(4, bytes.count)
      unsafe cparquet_runs_begin(&runs, bytes.baseAddress.map { unsafe $0 + skipped }, bytes.count - skipped, 1)
    case (.plain, _): form = .plain
    case (.plainDictionary, _), (.dictionary, _):
      form = .indices
      guard dictionary != nil else { throw ParquetFault("a page uses a dictionary that is not there") }
      let indexWidth = unsafe bytes.first ?? 0
      guard indexWidth <= 32 else { throw ParquetFault("a page has dictionary indices of \(indexWidth) bits") }
      let skipped = min(1, bytes.count)
      unsafe cparquet_runs_begin(
        &runs, bytes.baseAddress.map { unsafe $0 + skipped }, bytes.count - skipped, UInt32(indexWidth))
      indices = [UInt32](repeating: 0, count: min(Self.blockCount, count))
    case (.streamSplit, .float), (.streamSplit, .double), (.streamSplit, .int32), (.streamSplit, .int64),
      (.streamSplit, .fixedByteArray):
      form = .split
      guard let width, bytes.count % width == 0 else {
        throw ParquetFault("a page of BYTE_STREAM_SPLIT has \(bytes.count) bytes, which are no whole values")
      }
    case (.deltaBinaryPacked, .int32), (.deltaBinaryPacked, .int64):
      form = .deltaIntegers
      delta = try unsafe DeltaReader(bytes, atMost: count)
    case (.deltaLengthByteArray, .byteArray):
      form = .deltaLengths
      strings = try unsafe DeltaStrings(bytes, hasPrefixes: false, atMost: count)
    case (.deltaByteArray, .byteArray):
      form = .deltaBytes
      strings = try unsafe DeltaStrings(bytes, hasPrefixes: true, atMost: count)
    default:
      throw ParquetFault.refused(
        "its encoding \(encoding.name) of \(column.physicalType.name)", hint: "write it with PLAIN or a dictionary")
    }
  }

  /// Decodes values of one width.
  ///
  /// - Parameters:
  ///   - count: How many.
  ///   - output: Room for all of them, ``ParquetColumn/width`` bytes each.
  /// - Throws: ``ParquetFault`` where there are fewer, or an index is outside of
  ///   the dictionary.
  mutating func fixed(_ count: Int, into output: UnsafeMutableRawPointer) throws {
    guard let width else { throw ParquetFault("its values have no width") }
    switch form {
    case .plain:
      guard unsafe count <= (bytes.count - position) / width else { throw Self.short }
      guard count > 0, let start = unsafe bytes.baseAddress else { return }
      unsafe output.copyMemory(from: start + position, byteCount: count * width)
      position += count * width
    case .split:
      guard unsafe count <= bytes.count / width - position else { throw Self.short }
      guard count > 0 else { return }
      unsafe cparquet_join_streams(bytes.baseAddress, bytes.count / width, width, position, count, output)
      position += count
    case .bits:
      guard unsafe cparquet_runs_small(&runs, count, output.assumingMemoryBound(to: UInt8.self)) == count else {
        throw Self.short
      }
    case .indices: try unsafe lookUp(count, width, output)
    case .deltaIntegers: try unsafe delta?.integers(count, width: width, into: output)
    case .deltaLengths, .deltaBytes: throw ParquetFault("its values have no width")
    }
  }

  private mutating func lookUp(_ count: Int, _ width: Int, _ output: UnsafeMutableRawPointer) throws {
    var done = 0
    while done < count {
      let some = try nextIndices(count - done)
      guard let dictionary else { throw Self.short }
      let good = unsafe indices.withUnsafeBufferPointer { indices in
        unsafe cparquet_gather(
          dictionary.bytes.baseAddress, dictionary.count, width, indices.baseAddress, some, output + done * width)
      }
      guard good == some else { throw outside(good) }
      done += some
    }
  }

  private func outside(_ place: Int) -> ParquetFault {
    ParquetFault("a page asks for entry \(indices[place]) of a dictionary of \(dictionary?.count ?? 0)")
  }

  /// Reads indices into the block; how many.
  private mutating func nextIndices(_ count: Int) throws -> Int {
    let some = min(count, indices.count)
    let got = unsafe indices.withUnsafeMutableBufferPointer { indices in
      unsafe cparquet_runs_numbers(&runs, some, indices.baseAddress)
    }
    guard got == some, some > 0 else { throw Self.short }
    return some
  }

  /// Decodes values that each have a length.
  ///
  /// - Parameters:
  ///   - count: How many.
  ///   - output: Gets their bytes, which are good until the next call and until the
  ///     page goes.
  /// - Throws: As ``fixed(_:into:)``.
  mutating func slices(_ count: Int, into output: inout [UnsafeRawBufferPointer]) throws {
    switch form {
    case .plain:
      for _ in 0..<count {
        guard let slice = unsafe bytes.slice(at: position) else { throw Self.short }
        unsafe output.append(slice)
        position += 4 + slice.count
      }
    case .indices:
      var done = 0
      while done < count {
        let some = try nextIndices(count - done)
        guard let dictionary else { throw Self.short }
        for place in 0..<some {
          guard indices[place] < dictionary.count else { throw outside(place) }
          unsafe output.append(dictionary.slice(indices[place]))
        }
        done += some
      }
    case .deltaLengths, .deltaBytes: try unsafe strings?.slices(count, into: &output)
    case .split, .bits, .deltaIntegers: throw ParquetFault("its values have a width")
    }
  }
}
