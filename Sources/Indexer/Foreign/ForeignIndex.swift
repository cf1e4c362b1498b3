// An index that FAISS wrote elsewhere, as the helper process tells of it (CAdopt/main.cpp says
// how). Nothing of the answer is believed: every number is held against the index's file.

package import Base

/// What tarn takes of an index that somebody else wrote.
package struct ForeignIndex: Sendable {
  /// What ranks the lists there.
  package enum Coarse: String, Sendable {
    case flat
    /// The same rows behind a graph; tarn compares with all of them.
    case hnsw
  }

  /// Centroids, codec and ranges, in tarn's form.
  package let trained: TrainedIndex
  package let coarse: Coarse
  /// Rows of its lists.
  package let rowCount: Int
  /// Rows that it counts and that are in none of its lists: FAISS files no row with a component that is not a number.
  package let unfiledRowCount: Int
  let file: InputFile
  /// Where each list's codes begin in the file, with its rows; empty where no list has any.
  let lists: [(offset: Int, size: Int)]

  /// Reads the helper's answer.
  ///
  /// - Parameters:
  ///   - answer: The file it wrote.
  ///   - file: The index that it was asked about.
  /// - Throws: ``TarnError`` `.engine` for an answer that is none; `.integrity` for one
  ///   that the index's file does not bear out.
  package init(answer: String, about file: InputFile) throws {
    do {
      try self.init(cursor: FileCursor(InputFile(path: answer), kind: "answer"), about: file)
    } catch let error as TarnError {
      throw TarnError(
        .engine, "what tarn-adopt says of \(file.path) cannot be: \(error.message)",
        hint: "run it again; if that helps nothing, the file is not what FAISS wrote")
    }
  }

  private init(cursor: consuming FileCursor, about file: InputFile) throws {
    try cursor.expect(Array("tarnadp1".utf8), "first bytes")
    let dimension = try cursor.size("the dimension", in: 1...65_536)
    let nlist = try cursor.size("nlist", in: 1...maximumListCount)
    let count = try cursor.size("ntotal", in: 0...maximumRowCount)
    let nprobe = try cursor.size("nprobe", in: 1...(1 << 40))
    let qtype = try cursor.integer(Int32.self, "the quantizer type")
    let codec = VectorCodec.allCases.first { $0.faissQuantizerType == (qtype == -1 ? nil : qtype) }
    guard let codec else { throw cursor.malformed("its scalar quantizer is of type \(qtype)") }
    let statistic = RangeStatistic(
      faissStatistic: try cursor.integer(Int32.self, "the range statistic"),
      argument: try cursor.float("the range argument"))
    let coarse = try cursor.integer(UInt32.self, "the coarse quantizer")
    guard coarse <= 1 else { throw cursor.malformed("its coarse quantizer is of kind \(coarse)") }
    let hasLists = try cursor.integer(UInt32.self, "whether it has lists")
    guard hasLists <= 1 else { throw cursor.malformed("lists \(hasLists)") }
    let rangeCount = codec.hasRanges ? dimension : 0
    try cursor.expect(UInt64(2 * rangeCount), "number of codec ranges")
    let minima = try cursor.floats(rangeCount, "the codec ranges")
    let widths = try cursor.floats(rangeCount, "the codec ranges")
    try cursor.expect(UInt64(nlist * dimension), "number of centroid components")
    let centroids = try cursor.floats(nlist * dimension, "the centroids")
    // Ranges count, not how they were found: of statistics that tarn has not, least and greatest stands.
    let quantizer = try ScalarQuantizer(
      codec: codec, dimension: dimension, statistic: codec.hasRanges ? statistic ?? .minmax : .minmax, minima: minima,
      widths: widths)
    var lists: [(offset: Int, size: Int)] = []
    var total = 0
    if hasLists == 1 {
      let entry = quantizer.codeByteCount + 8
      let pairs = try cursor.integers64(2 * nlist, "the lists")
      lists.reserveCapacity(nlist)
      var end = FaissFile.centroidsOffset
      for list in 0..<nlist {
        let (offset, size) = (pairs[2 * list], pairs[2 * list + 1])
        guard size <= UInt64(file.byteCount / entry), offset <= UInt64(file.byteCount),
          Int(size) * entry <= file.byteCount - Int(offset)
        else { throw cursor.malformed("list \(list) is beyond the end of the file") }
        // FAISS writes them one after another, so none is read twice.
        guard size == 0 || Int(offset) >= end else { throw cursor.malformed("list \(list) is where another is") }
        if size > 0 { end = Int(offset) + Int(size) * entry }
        total += Int(size)
        lists.append((Int(offset), Int(size)))
      }
      guard total <= count else { throw cursor.malformed("ntotal is \(count) but its lists hold \(total)") }
    } else if count > 0 {
      throw cursor.malformed("it holds \(count) rows in no list")
    }
    try cursor.expect(Array("tarnend1".utf8), "last bytes")
    guard cursor.remaining == 0 else { throw cursor.malformed("\(cursor.remaining) bytes follow its end") }
    trained = try TrainedIndex(centroids: centroids, quantizer: quantizer, nprobe: nprobe)
    self.coarse = coarse == 0 ? .flat : .hnsw
    (rowCount, unfiledRowCount) = (total, count - total)
    self.file = file
    self.lists = total == 0 ? [] : lists
  }

  /// What the helper's end means, where it did not answer.
  ///
  /// - Parameters:
  ///   - status: Its exit status.
  ///   - complaint: What it wrote to standard error; not trusted.
  ///   - path: The index.
  /// - Returns: The error.
  package static func failure(status: Int, complaint: String, of path: String) -> TarnError {
    let line = complaint.split(separator: "\n").first.map(String.init) ?? ""
    let said = String(line.printable.prefix(200))
    switch status {
    case 2:
      let words = line.split(separator: " ", maxSplits: 1)
      return ForeignHead.refusal(
        ofWord: words.first.map(String.init) ?? "", words.count > 1 ? String(words[1]) : "", of: path)
    case 3:
      let isRoom = said.contains("bad_alloc") || said.contains("Cannot allocate")
      return TarnError(
        .integrity,
        isRoom
          ? "FAISS needs more memory for \(path) than the file has bytes: it says sizes that it has not"
          : "FAISS does not read \(path): \(said)", hint: "get the file again, whole")
    default:
      return TarnError(
        .engine, "tarn-adopt failed on \(path) with exit status \(status)\(said.isEmpty ? "" : ": \(said)")",
        hint: "the file is likely damaged; get it again, whole")
    }
  }

  /// Whether an output shard of a trained index can be made of it: the same centroids and
  /// ranges, to the bit.
  ///
  /// - Parameters:
  ///   - other: The trained index.
  ///   - name: Its name, for the message.
  /// - Throws: ``TarnError`` `.usage` naming what differs.
  package func require(_ other: TrainedIndex, named name: String) throws {
    let difference: String? =
      if trained.dimension != other.dimension {
        "rows of \(trained.dimension) elements, \(name) has \(other.dimension)"
      } else if trained.nlist != other.nlist {
        "\(trained.nlist) lists, \(name) has \(other.nlist)"
      } else if trained.quantizer.codec != other.quantizer.codec {
        "codec \(trained.quantizer.codec.rawValue), \(name) has \(other.quantizer.codec.rawValue)"
      } else if !trained.quantizer.minima.hasSameBits(as: other.quantizer.minima)
        || !trained.quantizer.widths.hasSameBits(as: other.quantizer.widths)
      {
        "other codec ranges than \(name)"
      } else if !trained.centroids.hasSameBits(as: other.centroids) {
        "other centroids than \(name)"
      } else {
        nil
      }
    guard let difference else { return }
    throw TarnError(
      .usage, "\(file.path) has \(difference)", hint: "name the trained index that it was filled from with --trained")
  }
}

extension [Float] {
  fileprivate func hasSameBits(as other: [Float]) -> Bool {
    count == other.count && zip(self, other).allSatisfy { $0.bitPattern == $1.bitPattern }
  }
}
