// The delta encodings: numbers as differences in blocks, and texts whose lengths
// and common beginnings are such numbers.
// https://github.com/apache/parquet-format/blob/master/Encodings.md

internal import CParquet

/// Reads numbers of DELTA_BINARY_PACKED.
@safe struct DeltaReader {
  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  /// Numbers of all blocks.
  let count: Int
  private let miniblockCount: Int
  /// Numbers of a miniblock, a multiple of eight.
  private let miniblockSize: Int
  /// Numbers that were not given yet.
  private var left: Int
  private var value: Int64 = 0
  private var isFirst = true
  private var minimum: Int64 = 0
  /// Widths of the miniblocks of this block that come next.
  private var widths: ArraySlice<UInt8> = []
  /// Differences of the miniblock that are still to be given, from `next` on.
  private var differences: [UInt64]
  private var next: Int
  private var available = 0

  private static let fault = ParquetFault("a page's DELTA_BINARY_PACKED is damaged")

  /// Begins.
  ///
  /// - Parameters:
  ///   - bytes: The numbers, and whatever comes behind them.
  ///   - limit: The most numbers there can be.
  /// - Throws: ``ParquetFault``.
  init(_ bytes: UnsafeRawBufferPointer, atMost limit: Int) throws {
    unsafe self.bytes = bytes
    var position = 0
    func unsigned() throws -> UInt64 {
      var value: UInt64 = 0
      for shift in stride(from: UInt64(0), through: 63, by: 7) {
        guard position < bytes.count else { throw Self.fault }
        let byte = unsafe bytes[position]
        position += 1
        value |= UInt64(byte & 0x7F) << shift
        if byte < 0x80 { return value }
      }
      throw Self.fault
    }
    let (blockSize, blocks, total) = (try unsigned(), try unsigned(), try unsigned())
    guard (1...65_536).contains(blockSize), (1...512).contains(blocks), blockSize % blocks == 0,
      (blockSize / blocks) % 8 == 0, total <= UInt64(limit)
    else { throw Self.fault }
    (miniblockCount, miniblockSize, count) = (Int(blocks), Int(blockSize / blocks), Int(total))
    left = count
    value = Self.signed(try unsigned())
    self.position = position
    differences = [UInt64](repeating: 0, count: miniblockSize)
    next = 0
  }

  private static func signed(_ value: UInt64) -> Int64 { Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1) }

  /// Begins the next miniblock; its differences are unpacked if they are wanted.
  private mutating func nextMiniblock(unpacking: Bool) throws {
    if widths.isEmpty {
      var value: UInt64 = 0
      var shift: UInt64 = 0
      while true {
        guard unsafe position < bytes.count, shift <= 63 else { throw Self.fault }
        let byte = unsafe bytes[position]
        position += 1
        value |= UInt64(byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 { break }
      }
      minimum = Self.signed(value)
      guard unsafe miniblockCount <= bytes.count - position else { throw Self.fault }
      widths = unsafe Array(bytes[position..<(position + miniblockCount)])[...]
      position += miniblockCount
    }
    guard let width = widths.popFirst(), width <= 64 else { throw Self.fault }
    let byteCount = Int(width) * miniblockSize / 8
    guard unsafe byteCount <= bytes.count - position else { throw Self.fault }
    if unpacking {
      unsafe differences.withUnsafeMutableBufferPointer { output in
        unsafe cparquet_unpack(
          bytes.baseAddress.map { unsafe $0 + position }, byteCount, 0, UInt32(width), miniblockSize, output.baseAddress
        )
      }
    }
    position += byteCount
    (next, available) = (0, miniblockSize)
  }

  /// The next number.
  mutating func number() throws -> Int64 {
    guard left > 0 else { throw ParquetFault("a page ends within its values") }
    left -= 1
    if isFirst {
      isFirst = false
      return value
    }
    if next == available { try nextMiniblock(unpacking: true) }
    value = value &+ minimum &+ Int64(bitPattern: differences[next])
    next += 1
    return value
  }

  /// The next numbers in four bytes or eight each.
  mutating func integers(_ count: Int, width: Int, into output: UnsafeMutableRawPointer) throws {
    for i in 0..<count {
      let number = try number()
      if width == 4 {
        unsafe output.storeBytes(of: Int32(truncatingIfNeeded: number), toByteOffset: 4 * i, as: Int32.self)
      } else {
        unsafe output.storeBytes(of: number, toByteOffset: 8 * i, as: Int64.self)
      }
    }
  }

  /// Where the bytes behind all numbers begin.
  consuming func end() throws -> Int {
    var rest = max(0, count - 1)
    while rest > 0 {
      try nextMiniblock(unpacking: false)
      rest -= min(rest, miniblockSize)
    }
    return position
  }
}

/// Reads texts of DELTA_LENGTH_BYTE_ARRAY and of DELTA_BYTE_ARRAY.
@safe struct DeltaStrings {
  /// How many bytes each has in common with the one before.
  private var prefixes: DeltaReader?
  private var lengths: DeltaReader
  /// The bytes that are not in common, one text behind the other.
  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private var previous: [UInt8] = []
  /// Where texts are put together; good until the next call.
  private let arena = ByteStore()

  /// The most bytes of the texts of one call.
  private static let maximumByteCount = 256 << 20
  private static let fault = ParquetFault("a page's texts are damaged")

  init(_ bytes: UnsafeRawBufferPointer, hasPrefixes: Bool, atMost limit: Int) throws {
    var rest = unsafe bytes
    if hasPrefixes {
      let prefixes = try unsafe DeltaReader(rest, atMost: limit)
      self.prefixes = prefixes
      unsafe rest = UnsafeRawBufferPointer(rebasing: rest[(try prefixes.end())...])
    }
    lengths = try unsafe DeltaReader(rest, atMost: limit)
    unsafe self.bytes = UnsafeRawBufferPointer(rebasing: rest[(try lengths.end())...])
  }

  /// Reads texts; errors as ``ValueDecoder/slices(_:into:)``.
  mutating func slices(_ count: Int, into output: inout [UnsafeRawBufferPointer]) throws {
    guard prefixes != nil else {
      for _ in 0..<count { unsafe output.append(try suffix()) }
      return
    }
    // Put together first, as the arena moves when it grows.
    var (texts, ends): ([UInt8], [Int]) = ([], [])
    for _ in 0..<count {
      guard let prefix = try prefixes?.number(), prefix >= 0, prefix <= previous.count else { throw Self.fault }
      let suffix = try unsafe suffix()
      guard texts.count + Int(prefix) + suffix.count <= Self.maximumByteCount else {
        throw ParquetFault.refused("texts of such a length in DELTA_BYTE_ARRAY", hint: "write them with PLAIN")
      }
      previous.removeSubrange(Int(prefix)...)
      unsafe previous.append(contentsOf: suffix)
      texts += previous
      ends.append(texts.count)
    }
    arena.reserve(texts.count)
    unsafe texts.withUnsafeBytes { from in
      if let start = from.baseAddress { unsafe arena.start.copyMemory(from: start, byteCount: from.count) }
    }
    var start = 0
    for end in ends {
      unsafe output.append(UnsafeRawBufferPointer(start: arena.start + start, count: end - start))
      start = end
    }
  }

  private mutating func suffix() throws -> UnsafeRawBufferPointer {
    let length = try lengths.number()
    guard length >= 0, unsafe length <= bytes.count - position else { throw Self.fault }
    defer { position += Int(length) }
    return unsafe UnsafeRawBufferPointer(rebasing: bytes[position..<(position + Int(length))])
  }
}
