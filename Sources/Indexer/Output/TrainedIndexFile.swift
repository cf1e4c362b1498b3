// A trained index as a file: an empty FAISS index that stock readers open, and
// whose SHA-256 is the trained index's identity.
//
// Layout, little-endian:
//
//   the index, as FaissFile.swift has it, without rows; where a router was trained its centroids are the router's
//   8 bytes "tarnasgn", u64 floats, f32 assigner [nlist × d]     with a router: what files the rows
//   8 bytes "tarnrefn", then i32 qtype … f32 vdiff [d] as above  where rows are refined: the codec of that, with the
//                                                                ranges that it learnt from the same rows
//
// Stock readers stop behind the index. One digest pins all of it.

package import Base

/// Writes and reads trained indexes.
package enum TrainedIndexFile {
  /// Writes a trained index under its final name, durably.
  ///
  /// - Parameters:
  ///   - trained: What to write.
  ///   - path: The final name; what is there is replaced.
  ///   - temporaryPath: A name on the same file system for the time before.
  /// - Returns: The SHA-256 of the file, and its size.
  /// - Throws: ``TarnError`` when the disk refuses.
  package static func write(
    _ trained: TrainedIndex, to path: String, temporaryPath: String
  ) throws -> (digest: ContentDigest, byteCount: Int) {
    let writer = try FileWriter(creating: temporaryPath)
    let empty = [UInt64](repeating: 0, count: trained.nlist)
    try FaissFile.writeHeader(trained, listSizes: empty, to: writer)
    if let assigner = trained.assigner {
      var head = ByteBuilder()
      head.append(trailerMagic)
      head.append(UInt64(assigner.count))
      try writer.append(head.bytes)
      try writer.append(assigner)
    }
    if let refine = trained.refine, let qtype = refine.codec.faissQuantizerType {
      var tail = ByteBuilder()
      tail.append(refineMagic)
      FaissFile.append(refine, ofType: qtype, to: &tail)
      try writer.append(tail.bytes)
    }
    return try writer.finish(as: path)
  }

  /// Bytes of the file of a trained index.
  ///
  /// - Parameters:
  ///   - codec: How it stores vectors.
  ///   - dimension: Components of a vector.
  ///   - nlist: Number of lists.
  ///   - hasAssigner: Whether a router was trained.
  ///   - refine: What rows are refined by; nil for nothing.
  /// - Returns: The size; nil when it would be larger than any file is.
  package static func byteCount(
    codec: VectorCodec, dimension: Int, nlist: Int, hasAssigner: Bool, refine: VectorCodec? = nil
  ) -> Int? {
    guard (1...65_536).contains(dimension), (1...maximumListCount).contains(nlist) else { return nil }
    let floats = 4 * dimension * nlist
    let ranges = codec.hasRanges ? 8 * dimension : 0
    // qtype, statistic and argument; dimension, code size and count; code size and by_residual.
    let quantizer = codec.faissQuantizerType == nil ? 0 : 12 + 24 + ranges + 9
    // The direct map before; after it the lists: kind, nlist, code size, kind of sizes, no sizes.
    return FaissFile.centroidsOffset + floats + 9 + quantizer + 32 + (hasAssigner ? 16 + floats : 0)
      + (refine.map { 8 + 36 + ($0.hasRanges ? 8 * dimension : 0) } ?? 0)
  }

  /// Reads a trained index, trusting nothing in it.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - digest: What its SHA-256 must be; nil leaves that unchecked.
  ///   - remedy: What helps where it is another.
  /// - Returns: Centroids, codec and ranges.
  /// - Throws: ``TarnError`` `.inputsMissing` without a file, `.integrity`
  ///   when it is not a whole trained index of tarn's or has another digest.
  package static func read(
    _ path: String, digest: ContentDigest? = nil,
    remedy: String = "`tarn verify --repair` brings it back where it can; else delete the file and train again"
  ) throws -> TrainedIndex {
    let file = try InputFile(path: path)
    // Bytes that are others than they were are the better reason than whatever they break; and what is hashed is what
    // is read, whoever puts another file in its place.
    if let digest {
      let found = try file.digest()
      guard found == digest else {
        throw TarnError(
          .integrity, "\(path) has SHA-256 \(found.prefix(12)), expected \(digest.prefix(12))", hint: remedy)
      }
    }
    let header = try FaissFile.readHeader(of: file, kind: "trained index", hasTrailer: true)
    guard header.count == 0 else {
      throw TarnError(.integrity, "\(path) is not a trained index: it holds \(header.count) rows")
    }
    guard header.dataOffset < file.byteCount else { return header.trained }
    var cursor = FileCursor(file, kind: "trained index")
    cursor.skip(header.dataOffset)
    // What follows says itself what it is.
    func isNext(_ magic: StaticString) throws -> Bool {
      guard cursor.remaining >= 8 else { return false }
      var ahead = cursor
      guard try ahead.bytes(8, "what follows the index") == Array("\(magic)".utf8) else { return false }
      cursor = ahead
      return true
    }
    var assigner: [Float]?
    if try isNext(trailerMagic) {
      let count = header.trained.centroids.count
      try cursor.expect(UInt64(count), "number of assigner components")
      assigner = try cursor.floats(count, "the assigner")
    }
    let refine =
      try isNext(refineMagic) ? FaissFile.readQuantizer(&cursor, dimension: header.trained.dimension) : nil
    guard cursor.remaining == 0 else {
      let last = refine != nil ? "codec that refines" : assigner != nil ? "assigner" : "index"
      throw cursor.malformed("\(cursor.remaining) bytes follow the \(last)")
    }
    do {
      return try TrainedIndex(
        centroids: header.trained.centroids, assigner: assigner, quantizer: header.trained.quantizer,
        refine: refine, nprobe: header.trained.nprobe)
    } catch let error as TarnError {
      throw cursor.malformed(error.message)
    }
  }

  private static let trailerMagic: StaticString = "tarnasgn"
  private static let refineMagic: StaticString = "tarnrefn"
}
