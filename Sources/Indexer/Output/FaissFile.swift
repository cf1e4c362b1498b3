// The on-disk format of FAISS's IVF indexes, written and parsed by tarn itself:
// the bytes are those of FAISS 1.7.3's write_index, and streaming keeps memory
// independent of the size.
//
// Layout, little-endian ("index header" is the same for index and quantizer):
//
//   fourcc "IwSq" (scalar quantizer) or "IwFl" (flat)
//   index header: i32 d, i64 ntotal, i64 2^20, i64 2^20, u8 is_trained, i32 metric (0 = inner product)
//   u64 nlist, u64 nprobe
//   coarse quantizer: fourcc "IxFI", index header, u64 floats, f32 centroids [nlist × d]
//   direct map: u8 0, u64 0
//   IwSq only: i32 qtype, i32 rangestat, f32 argument, u64 d, u64 code size, u64 floats, f32 vmin [d], f32 vdiff [d],
//              u64 code size, u8 by_residual = 0
//   inverted lists: fourcc "ilar", u64 nlist, u64 code size, then
//              "full", u64 nlist, u64 size [nlist]                       when more than nlist / 2 lists hold rows
//              "sprs", u64 2m, (u64 list, u64 size) [m]                  otherwise
//   for each list that holds rows: codes [size × code size], i64 ids [size]
//
// Invariants:
//   1. metric is inner product, by_residual is false: with both, FAISS's score is <q, decoded x>.
//   2. ntotal is the sum of the list sizes; a hole is in no list.
//   3. The bytes follow from (trained index, list contents) alone.

internal import Base

/// Coarse centroids and codec ranges without vectors: what a build encodes
/// against.
package struct TrainedIndex: Sendable, Equatable {
  /// Components of a vector.
  package var dimension: Int { quantizer.dimension }
  /// Number of inverted lists.
  package let nlist: Int
  /// What queries are compared with to rank lists, and what the file's coarse
  /// quantizer holds: row-major, `[nlist × dimension]`.
  package let centroids: [Float]
  /// What rows are compared with to be filed, as many, where a router was
  /// trained; nil where the centroids do both.
  package let assigner: [Float]?
  package let quantizer: ScalarQuantizer
  /// The codes that are kept beside the lists, by which the best of what was found are
  /// ordered again; nil without.
  package let refine: ScalarQuantizer?
  /// The lists that a reader visits per query unless told otherwise.
  package let nprobe: Int

  /// Checks and keeps the parts.
  ///
  /// - Parameters:
  ///   - centroids: Row-major finite centroids, `[nlist × dimension]`, at
  ///     least one.
  ///   - assigner: As many, where rows are filed by others.
  ///   - quantizer: The codec with its ranges; gives the dimension.
  ///   - refine: The same for codes beside the lists; nil for none.
  ///   - nprobe: The default of readers, `1...`.
  /// - Throws: ``TarnError`` `.usage` when the parts do not fit.
  package init(
    centroids: [Float], assigner: [Float]? = nil, quantizer: ScalarQuantizer, refine: ScalarQuantizer? = nil,
    nprobe: Int = 8
  ) throws {
    let dimension = quantizer.dimension
    if let refine, refine.dimension != dimension || !refine.codec.canRefine {
      throw TarnError(
        .usage, "\(refine.codec.rawValue) codes of \(refine.dimension) dimensions refine no index of \(dimension)")
    }
    guard !centroids.isEmpty, centroids.count % dimension == 0, centroids.count / dimension <= maximumListCount else {
      throw TarnError(.usage, "\(centroids.count) floats are no centroids of \(dimension) dimensions")
    }
    guard assigner?.count ?? centroids.count == centroids.count else {
      throw TarnError(.usage, "\(assigner?.count ?? 0) floats of an assigner go with \(centroids.count) of a router")
    }
    guard centroids.allSatisfy(\.isFinite), (assigner ?? []).allSatisfy(\.isFinite) else {
      throw TarnError(.usage, "a centroid is not finite")
    }
    guard nprobe >= 1 else { throw TarnError(.usage, "nprobe is \(nprobe), must be at least 1") }
    nlist = centroids.count / dimension
    self.centroids = centroids
    self.assigner = assigner
    self.quantizer = quantizer
    self.refine = refine
    self.nprobe = nprobe
  }
}

extension TrainedIndex {
  /// What an output shard carries of it: all but the assigner and what refines.
  var searched: TrainedIndex {
    get throws { try TrainedIndex(centroids: centroids, quantizer: quantizer, nprobe: nprobe) }
  }
}

/// More lists than any index has; keeps a hostile file's sums from overflowing.
let maximumListCount = 1 << 28

/// More rows, or ids, than any file of an output has; likewise.
package let maximumRowCount = 1 << 48

/// The bytes of the format above.
enum FaissFile {
  static let chunk: UInt64 = 1 << 20
  /// Where the centroids are: after two fourccs, two index headers of 33 bytes
  /// and three sizes.
  static let centroidsOffset = 4 + 33 + 8 + 8 + 4 + 33 + 8

  /// Everything before the list contents.
  ///
  /// - Parameters:
  ///   - trained: The trained index.
  ///   - listSizes: Rows of each list, `[nlist]`.
  ///   - writer: Where the bytes go.
  /// - Throws: ``TarnError`` when the disk refuses.
  static func writeHeader(
    _ trained: TrainedIndex, listSizes: [UInt64], to writer: FileWriter
  ) throws {
    let (quantizer, count) = (trained.quantizer, listSizes.reduce(0, +))
    precondition(listSizes.count == trained.nlist)
    var head = ByteBuilder()
    head.append(quantizer.codec.faissQuantizerType == nil ? "IwFl" as StaticString : "IwSq")
    appendIndexHeader(dimension: trained.dimension, count: count, to: &head)
    head.append(UInt64(trained.nlist))
    head.append(UInt64(trained.nprobe))
    head.append("IxFI")
    appendIndexHeader(dimension: trained.dimension, count: UInt64(trained.nlist), to: &head)
    head.append(UInt64(trained.centroids.count))
    try writer.append(head.bytes)
    try writer.append(trained.centroids)

    var tail = ByteBuilder()
    tail.append(UInt8(0))
    tail.append(UInt64(0))
    if let qtype = quantizer.codec.faissQuantizerType {
      append(quantizer, ofType: qtype, to: &tail)
      tail.append(UInt64(quantizer.codeByteCount))
      tail.append(UInt8(0))
    }
    tail.append("ilar")
    tail.append(UInt64(trained.nlist))
    tail.append(UInt64(quantizer.codeByteCount))
    let occupied = listSizes.count { $0 > 0 }
    if occupied > trained.nlist / 2 {
      tail.append("full")
      tail.append(UInt64(trained.nlist))
      tail.append(contentsOf: listSizes)
    } else {
      tail.append("sprs")
      tail.append(UInt64(2 * occupied))
      for (list, size) in listSizes.enumerated() where size > 0 {
        tail.append(UInt64(list))
        tail.append(size)
      }
    }
    try writer.append(tail.bytes)
  }

  /// A quantizer as FAISS writes it by itself.
  static func append(_ quantizer: ScalarQuantizer, ofType qtype: Int32, to bytes: inout ByteBuilder) {
    let range = quantizer.statistic.faissFields
    bytes.append(qtype)
    bytes.append(range.statistic)
    bytes.append(range.argument)
    bytes.append(UInt64(quantizer.dimension))
    bytes.append(UInt64(quantizer.codeByteCount))
    bytes.append(UInt64(2 * quantizer.minima.count))
    bytes.append(contentsOf: quantizer.minima)
    bytes.append(contentsOf: quantizer.widths)
  }

  static func appendIndexHeader(dimension: Int, count: UInt64, to bytes: inout ByteBuilder) {
    bytes.append(Int32(dimension))
    bytes.append(count)
    bytes.append(chunk)
    bytes.append(chunk)
    bytes.append(UInt8(1))
    bytes.append(Int32(0))
  }

  /// What stands before the list contents, parsed strictly.
  struct Header {
    let trained: TrainedIndex
    /// Rows of each list, `[nlist]`.
    let listSizes: [UInt64]
    /// Where the first list's codes start.
    let dataOffset: Int
    /// Rows of all lists.
    let count: Int
  }

  /// Parses a file that tarn, or FAISS from the same parts, has written.
  ///
  /// - Parameters:
  ///   - file: The file; every length is checked against its size first.
  ///   - kind: What it should be, for messages.
  ///   - hasTrailer: Whether bytes may follow the lists.
  ///   - known: The trained index it should carry; its centroids are compared
  ///     in ``sampledBytes(of:)`` alone and not read.
  /// - Returns: The header; the lists fill the rest of the file exactly, but
  ///   for a trailer.
  /// - Throws: ``TarnError`` `.integrity` for anything else.
  static func readHeader(
    of file: InputFile, kind: String, hasTrailer: Bool = false, sharing known: TrainedIndex? = nil
  ) throws -> Header {
    var cursor = FileCursor(file, kind: kind)
    let fourcc = try cursor.bytes(4, "its first four bytes")
    let isFlat = fourcc == Array("IwFl".utf8)
    guard isFlat || fourcc == Array("IwSq".utf8) else {
      throw cursor.malformed("it is not a FAISS IVF file with a scalar quantizer or flat lists")
    }
    let (dimension, count) = try readIndexHeader(&cursor)
    let nlist = try cursor.size("nlist", in: 1...maximumListCount)
    let nprobe = try cursor.size("nprobe", in: 1...(1 << 40))
    try cursor.expect(Array("IxFI".utf8), "coarse quantizer")
    guard try readIndexHeader(&cursor) == (dimension, nlist) else {
      throw cursor.malformed("its coarse quantizer has another shape")
    }
    try cursor.expect(UInt64(nlist * dimension), "number of centroid components")
    var centroids = known?.centroids ?? []
    if let known {
      guard (dimension, nlist) == (known.dimension, known.nlist) else { throw foreign(file) }
      try cursor.require(centroids, at: sampledBytes(of: 4 * centroids.count), "the centroids") { foreign(file) }
    } else {
      centroids = try cursor.floats(nlist * dimension, "the centroids")
    }
    try cursor.expect(UInt8(0), "direct map")
    try cursor.expect(UInt64(0), "direct map")
    let quantizer =
      isFlat
      ? try ScalarQuantizer(codec: .flat, dimension: dimension) : try readQuantizer(&cursor, dimension: dimension)
    if !isFlat {
      try cursor.expect(UInt64(quantizer.codeByteCount), "code size")
      try cursor.expect(UInt8(0), "by_residual (must be false)")
    }
    try cursor.expect(Array("ilar".utf8), "kind of inverted lists")
    try cursor.expect(UInt64(nlist), "nlist of the inverted lists")
    try cursor.expect(UInt64(quantizer.codeByteCount), "code size of the inverted lists")
    let sizes = try readListSizes(&cursor, nlist: nlist)

    let entryByteCount = UInt64(quantizer.codeByteCount + 8)
    var left = UInt64(cursor.remaining) / entryByteCount
    for size in sizes {
      guard size <= left else { throw cursor.malformed("its lists are longer than the file") }
      left -= size
    }
    let total = sizes.reduce(0, +)
    guard total == UInt64(count) else {
      throw cursor.malformed("ntotal is \(count) but its lists hold \(total)")
    }
    guard hasTrailer || UInt64(cursor.remaining) == total * entryByteCount else {
      throw cursor.malformed("\(cursor.remaining) bytes of lists, expected \(total * entryByteCount)")
    }
    if let known {
      guard known.quantizer == quantizer, known.nprobe == nprobe, known.assigner == nil else { throw foreign(file) }
      return Header(trained: known, listSizes: sizes, dataOffset: cursor.offset, count: count)
    }
    do {
      let trained = try TrainedIndex(centroids: centroids, quantizer: quantizer, nprobe: nprobe)
      return Header(trained: trained, listSizes: sizes, dataOffset: cursor.offset, count: count)
    } catch let error as TarnError {
      throw cursor.malformed(error.message)
    }
  }

  private static func foreign(_ file: InputFile) -> TarnError {
    TarnError(
      .integrity, "\(file.path) was made with another trained index than the files before it",
      hint: "search the output shards of one version")
  }

  /// The bytes of centroids by which two files are told to share them: all of
  /// few, 256 pages of many.
  ///
  /// Two trainings differ everywhere, so this finds a file of another; what
  /// it does not look at is not used, for queries meet the first file's.
  static func sampledBytes(of byteCount: Int) -> [Range<Int>] {
    let (page, count) = (4096, 256)
    guard byteCount > count * page else { return [0..<byteCount] }
    return (0..<count).map { number in
      let start = (byteCount - page) / (count - 1) * number / 4 * 4
      return start..<start + page
    }
  }

  static func readIndexHeader(_ cursor: inout FileCursor) throws -> (dimension: Int, count: Int) {
    let dimension = try cursor.integer(Int32.self, "the dimension")
    guard (1...65_536).contains(dimension) else { throw cursor.malformed("its dimension is \(dimension)") }
    let count = try cursor.size("ntotal", in: 0...maximumRowCount)
    try cursor.expect(chunk, "padding")
    try cursor.expect(chunk, "padding")
    try cursor.expect(UInt8(1), "is_trained")
    try cursor.expect(Int32(0), "metric (only inner product is tarn's)")
    return (Int(dimension), count)
  }

  /// Reads what ``append(_:ofType:to:)`` writes.
  static func readQuantizer(_ cursor: inout FileCursor, dimension: Int) throws -> ScalarQuantizer {
    let qtype = try cursor.integer(Int32.self, "the quantizer type")
    guard let codec = VectorCodec.allCases.first(where: { $0.faissQuantizerType == qtype }) else {
      throw cursor.malformed("its scalar quantizer is of type \(qtype)")
    }
    let codeByteCount = codec.codeByteCount(dimension: dimension)
    let number = try cursor.integer(Int32.self, "the range statistic")
    guard let statistic = RangeStatistic(faissStatistic: number, argument: try cursor.float("the range argument"))
    else { throw cursor.malformed("its range statistic is \(number)") }
    try cursor.expect(UInt64(dimension), "dimension of the scalar quantizer")
    try cursor.expect(UInt64(codeByteCount), "code size of the scalar quantizer")
    let rangeCount = codec.hasRanges ? dimension : 0
    try cursor.expect(UInt64(2 * rangeCount), "number of codec ranges")
    let minima = try cursor.floats(rangeCount, "the codec ranges")
    let widths = try cursor.floats(rangeCount, "the codec ranges")
    do {
      return try ScalarQuantizer(
        codec: codec, dimension: dimension, statistic: statistic, minima: minima, widths: widths)
    } catch let error as TarnError {
      throw cursor.malformed(error.message)
    }
  }

  private static func readListSizes(_ cursor: inout FileCursor, nlist: Int) throws -> [UInt64] {
    switch String(decoding: try cursor.bytes(4, "the kind of list sizes"), as: UTF8.self) {
    case "full":
      try cursor.expect(UInt64(nlist), "number of list sizes")
      let sizes = try cursor.integers64(nlist, "the list sizes")
      guard sizes.count(where: { $0 > 0 }) > nlist / 2 else { throw cursor.malformed("its list sizes are not sparse") }
      return sizes
    case "sprs":
      let pairs = try cursor.integers64(
        try cursor.size("number of list sizes", in: 0...nlist), "the list sizes")
      guard pairs.count % 2 == 0 else { throw cursor.malformed("a list size without its list") }
      var sizes = [UInt64](repeating: 0, count: nlist)
      var next: UInt64 = 0
      for i in stride(from: 0, to: pairs.count, by: 2) {
        guard pairs[i] >= next, pairs[i] < UInt64(nlist), pairs[i + 1] > 0 else {
          throw cursor.malformed("its list sizes are not in order")
        }
        sizes[Int(pairs[i])] = pairs[i + 1]
        next = pairs[i] + 1
      }
      return sizes
    default:
      throw cursor.malformed("unknown kind of list sizes")
    }
  }
}
