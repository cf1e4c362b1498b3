// A matrix of features as its bytes lie in a file or in memory: elements of any
// type, C order. Everything that reads vectors reads them from here.

package import Base
internal import CRows
internal import Glibc

/// An immutable row-major matrix `[rowCount × dimension]`; component `j` of row
/// `i` is element `i * dimension + j`.
///
/// Mapped from a file, its pages come and go with the kernel's cache: a matrix
/// may be larger than memory.
///
/// `@unchecked Sendable`: the bytes are never written after `init`, and the one
/// owner that unmaps or frees them is this object's `deinit`. A file that is
/// truncated while it is mapped ends the process with SIGBUS; files of a lake
/// are written once and never truncated.
@safe package final class FeatureMatrix: @unchecked Sendable {
  package let elementType: ElementType
  package let rowCount: Int
  package let dimension: Int

  @unsafe private enum Storage {
    case mapping(UnsafeMutableRawPointer?, byteCount: Int)
    case memory(UnsafeMutableRawPointer)
    /// Held so that its elements stay where they are: nobody can change an array that another holds.
    case shared([Float])
  }

  private let storage: Storage
  /// The first element, which need not be aligned.
  package let base: UnsafeRawPointer

  /// Bytes of one row.
  package var rowByteCount: Int { dimension * elementType.byteCount }

  /// Maps the elements of a file.
  ///
  /// - Parameters:
  ///   - path: A file of `byteOffset` bytes and then the matrix.
  ///   - byteOffset: Where the first element is.
  ///   - elementType: How elements are stored.
  ///   - rowCount: Rows, `0...`.
  ///   - dimension: Columns, `1...`.
  ///   - isWholeFile: Whether nothing may come after the matrix.
  /// - Throws: ``TarnError`` `.badFeatures` when the file is shorter or
  ///   longer, `.inputsMissing` without one, `.io` when it cannot be opened or mapped.
  package init(
    mapping path: String, byteOffset: Int, elementType: ElementType, rowCount: Int, dimension: Int,
    isWholeFile: Bool = true
  ) throws {
    precondition(rowCount >= 0 && dimension >= 1 && byteOffset >= 0, "the shape of a matrix is negative")
    let wanted = byteOffset + rowCount * dimension * elementType.byteCount
    let (descriptor, byteCount) = try Disk.openInput(path)
    defer { close(descriptor) }
    guard isWholeFile ? byteCount == wanted : byteCount >= wanted else {
      throw TarnError(
        .badFeatures, "\(path) has \(byteCount) bytes; [\(rowCount) x \(dimension)] \(elementType) needs \(wanted)",
        hint: byteCount < wanted ? "it is truncated: fetch it again" : "it has bytes after its last row")
    }
    let mapped = unsafe mmap(nil, max(wanted, 1), PROT_READ, MAP_PRIVATE, descriptor, 0)
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else { throw Disk.systemError("map", path) }
    unsafe storage = .mapping(mapped, byteCount: max(wanted, 1))
    unsafe base = UnsafeRawPointer(mapped + byteOffset)
    (self.elementType, self.rowCount, self.dimension) = (elementType, rowCount, dimension)
  }

  /// Copies float32 rows.
  ///
  /// - Parameters:
  ///   - values: Row-major, `[values.count / dimension × dimension]`.
  ///   - dimension: Columns, `1...`; divides `values.count`.
  package init(_ values: [Float], dimension: Int) {
    precondition(dimension >= 1 && values.count % dimension == 0, "values are not whole rows")
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(values.count * 4, 64), alignment: 64)
    unsafe values.withUnsafeBytes { bytes in
      if let source = bytes.baseAddress { unsafe memory.copyMemory(from: source, byteCount: bytes.count) }
    }
    unsafe storage = .memory(memory)
    unsafe base = UnsafeRawPointer(memory)
    (elementType, rowCount, self.dimension) = (.float32, values.count / dimension, dimension)
  }

  /// Takes float32 rows where an array has them: for tables that are too large to have twice.
  ///
  /// - Parameters:
  ///   - values: As ``init(_:dimension:)``.
  ///   - dimension: As there.
  package init(sharing values: [Float], dimension: Int) {
    precondition(dimension >= 1 && !values.isEmpty && values.count % dimension == 0, "values are not whole rows")
    unsafe storage = .shared(values)
    // An array of Float is one piece of memory, which moves when it is changed and at no other time.
    unsafe base = values.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { preconditionFailure("an array with elements has an address") }
      return unsafe start
    }
    (elementType, rowCount, self.dimension) = (.float32, values.count / dimension, dimension)
  }

  /// Decodes rows, into memory or, where they are many, into a file without a name.
  ///
  /// - Parameters:
  ///   - decoder: Gives them.
  ///   - layout: Their shape.
  ///   - path: The file that they are of, for messages.
  /// - Throws: ``FeatureFault``; ``TarnError`` `.diskFull`, `.io`.
  init(decoding decoder: any RowDecoder, _ layout: FeatureLayout, of path: String) throws {
    (elementType, rowCount, dimension) = (layout.elementType, layout.rowCount, layout.dimension)
    let byteCount = layout.rowCount * layout.dimension * layout.elementType.byteCount
    if byteCount > DecodedRows.mostInMemory {
      let mapped = try unsafe DecodedRows.map(path, byteCount: byteCount) { write in
        try unsafe FeatureContent.drain(decoder, layout, by: 4 << 20, write)
      }
      unsafe storage = .mapping(mapped, byteCount: byteCount)
      unsafe base = UnsafeRawPointer(mapped)
    } else {
      let memory = UnsafeMutableRawPointer.allocate(byteCount: max(byteCount, 64), alignment: 64)
      do {
        try unsafe decoder.read(into: UnsafeMutableRawBufferPointer(start: memory, count: byteCount))
        try decoder.finish()
      } catch {
        unsafe memory.deallocate()
        throw error
      }
      unsafe storage = .memory(memory)
      unsafe base = UnsafeRawPointer(memory)
    }
  }

  /// Makes float32 rows in place.
  ///
  /// - Parameters:
  ///   - rowCount: Rows, `0...`.
  ///   - dimension: Columns, `1...`.
  ///   - fill: Writes every one of the `rowCount * dimension` elements.
  package init(rowCount: Int, dimension: Int, filling fill: (UnsafeMutablePointer<Float>) -> Void) {
    precondition(rowCount >= 0 && dimension >= 1, "the shape of a matrix is negative")
    let count = rowCount * dimension
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(count * 4, 64), alignment: 64)
    unsafe fill(memory.bindMemory(to: Float.self, capacity: count))
    unsafe storage = .memory(memory)
    unsafe base = UnsafeRawPointer(memory)
    (elementType, self.rowCount, self.dimension) = (.float32, rowCount, dimension)
  }

  deinit {
    switch unsafe storage {
    case .mapping(let start, let byteCount): unsafe munmap(start, byteCount)
    case .memory(let start): unsafe start.deallocate()
    case .shared: break
    }
  }

  /// Converts rows to float32 (``Base/ElementType``).
  ///
  /// - Parameters:
  ///   - rows: Rows of the matrix.
  ///   - output: Gets `rows.count * dimension` elements from its start.
  package func widen(rows: Range<Int>, into output: inout MutableSpan<Float>) {
    precondition(output.count >= rows.count * dimension, "no room for the rows")
    unsafe output.withUnsafeMutableBufferPointer { buffer in
      if let start = buffer.baseAddress { unsafe widen(rows: rows, to: start) }
    }
  }

  /// The rows as float32, row-major.
  package func floats(rows: Range<Int>) -> [Float] {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount, "rows outside the matrix")
    return unsafe [Float](unsafeUninitializedCapacity: rows.count * dimension) { buffer, count in
      if let start = buffer.baseAddress { unsafe widen(rows: rows, to: start) }
      count = rows.count * dimension
    }
  }

  /// Rows in any order as float32, row-major.
  package func floats(ofRows rows: some Collection<Int>) -> [Float] {
    unsafe [Float](unsafeUninitializedCapacity: rows.count * dimension) { buffer, count in
      if let start = buffer.baseAddress {
        for (index, row) in rows.enumerated() { unsafe widen(rows: row..<(row + 1), to: start + index * dimension) }
      }
      count = rows.count * dimension
    }
  }

  /// A matrix of its own of rows in any order, in float32.
  package func copy(ofRows rows: some Collection<Int>) -> FeatureMatrix {
    FeatureMatrix(floats(ofRows: rows), dimension: dimension)
  }

  /// Rows from all over, one of each of equal stretches.
  ///
  /// - Parameters:
  ///   - most: How many stretches, `1...`.
  ///   - seed: Draws the row of a stretch; nil for the first one, which of rows that take turns are all of one kind.
  /// - Returns: Their numbers, ascending; all of fewer rows.
  package func spreadRows(_ most: Int, seed: UInt64? = nil) -> [Int] {
    let count = min(most, rowCount)
    guard let seed else { return (0..<count).map { $0 * rowCount / count } }
    var random = SplitMix64(seed: seed)
    return random.oneOfEach(count, of: rowCount)
  }

  package func widen(rows: Range<Int>, to output: UnsafeMutablePointer<Float>) {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount, "rows outside the matrix")
    unsafe crows_widen(
      SimdLevel.current, address(ofRow: rows.lowerBound), elementType.code, rows.count * dimension, output)
  }

  /// The length of a row: the square root of its score with itself.
  package func length(ofRow row: Int) -> Double { lengths(ofRows: row..<(row + 1))[0] }

  /// The lengths of rows, in their order.
  package func lengths(ofRows rows: Range<Int>) -> [Double] {
    let values = floats(rows: rows)
    return unsafe values.withUnsafeBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return [] }
      return (0..<rows.count).map { index in
        let row = unsafe start + index * dimension
        return unsafe crows_score(SimdLevel.current, row, row, dimension).squareRoot()
      }
    }
  }

  package func address(ofRow row: Int) -> UnsafeRawPointer { unsafe base + row * rowByteCount }

  /// What makes a row unfit for an index.
  package enum Defect: String, Sendable, Equatable {
    case nan = "a NaN"
    case infinite = "an infinity"
    case zero = "only zeros"
  }

  /// A row that is unfit, and why.
  package struct BadRow: Sendable, Equatable {
    package let row: Int
    package let defect: Defect

    package init(row: Int, defect: Defect) { (self.row, self.defect) = (row, defect) }
  }

  /// What a bad row holds, for a message: of float64 what float32 makes of it is not what is in the file.
  ///
  /// - Parameter bad: A bad row of this matrix.
  /// - Returns: The words.
  package func words(of bad: BadRow) -> String {
    guard elementType == .float64, bad.defect != .nan else { return bad.defect.rawValue }
    for column in 0..<dimension {
      let value = unsafe address(ofRow: bad.row).loadUnaligned(
        fromByteOffset: column * elementType.byteCount, as: Double.self)
      switch bad.defect {
      case .infinite where value.isInfinite: return bad.defect.rawValue
      case .zero where value != 0: return "only numbers that are zero in float32"
      default: continue
      }
    }
    return bad.defect == .infinite ? "a number beyond float32" : bad.defect.rawValue
  }

  /// The first row in a range with a NaN, an infinity or only zeros.
  package func firstBadRow(in rows: Range<Int>? = nil) -> BadRow? {
    let rows = rows ?? 0..<rowCount
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount, "rows outside the matrix")
    var cause: Int32 = 0
    let row = unsafe crows_find_bad_row(
      SimdLevel.current, base, elementType.code, dimension, rows.lowerBound, rows.upperBound, &cause)
    guard row < rows.upperBound else { return nil }
    switch UInt32(cause) {
    case CROWS_ROW_NAN.rawValue: return BadRow(row: row, defect: .nan)
    case CROWS_ROW_INFINITE.rawValue: return BadRow(row: row, defect: .infinite)
    default: return BadRow(row: row, defect: .zero)
    }
  }

  /// Every row in a range with a NaN, an infinity or only zeros, ascending.
  package func badRows(in rows: Range<Int>? = nil) -> [BadRow] {
    var rest = rows ?? 0..<rowCount
    var found: [BadRow] = []
    while let bad = firstBadRow(in: rest) {
      found.append(bad)
      rest = (bad.row + 1)..<rest.upperBound
    }
    return found
  }

  /// How rows are about to be read; the kernel may act on it.
  package enum Access: Sendable { case sequential, random }

  /// Tells the kernel how a range of rows will be read.
  ///
  /// - Parameters:
  ///   - access: What is coming.
  ///   - rows: Rows of the matrix; all by default.
  package func advise(_ access: Access, rows: Range<Int>? = nil) {
    guard case .mapping(let start?, _) = unsafe storage else { return }
    let rows = rows ?? 0..<rowCount
    let page = Int(getpagesize())
    let offset = unsafe address(ofRow: rows.lowerBound) - UnsafeRawPointer(start)
    let first = offset / page * page
    let count = offset + rows.count * rowByteCount - first
    let advice =
      switch access {
      case .sequential: MADV_SEQUENTIAL
      case .random: MADV_RANDOM
      }
    // Advice only: a refusal changes nothing but speed.
    _ = unsafe madvise(start + first, count, Int32(advice))
  }
}

extension ElementType {
  /// The kernels' number for the type.
  package var code: Int32 {
    switch self {
    case .float16: Int32(CROWS_FLOAT16.rawValue)
    case .float32: Int32(CROWS_FLOAT32.rawValue)
    case .float64: Int32(CROWS_FLOAT64.rawValue)
    case .bfloat16: Int32(CROWS_BFLOAT16.rawValue)
    case .uint8: Int32(CROWS_UINT8.rawValue)
    case .int8: Int32(CROWS_INT8.rawValue)
    }
  }
}
