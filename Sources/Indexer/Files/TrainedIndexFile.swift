// A trained index as a file: an empty FAISS index that stock readers open, and
// whose SHA-256 is the trained index's identity.

package import Catalog

/// Writes and reads trained indexes.
package enum TrainedIndexFile {
  /// Writes a trained index under its final name, durably.
  ///
  /// - Parameters:
  ///   - trained: What to write.
  ///   - path: The final name; what is there is replaced.
  ///   - temporaryPath: A name on the same file system for the time before.
  /// - Returns: The SHA-256 of the file, and its size.
  /// - Throws: ``Catalog/CatalogError`` when the disk refuses.
  package static func write(
    _ trained: TrainedIndex, to path: String, temporaryPath: String
  ) throws -> (digest: ContentDigest, byteCount: Int) {
    let writer = try FileWriter(creating: temporaryPath)
    let empty = [UInt64](repeating: 0, count: trained.nlist)
    try FaissFile.writeHeader(trained, listSizes: empty, to: writer)
    return try writer.finish(as: path)
  }

  /// Reads a trained index, trusting nothing in it.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - digest: What its SHA-256 must be; nil leaves that unchecked.
  /// - Returns: Centroids, codec and ranges.
  /// - Throws: ``IndexerError`` `.inputsMissing` without a file, `.integrity`
  ///   when it is not a whole trained index of tarn's or has another digest.
  package static func read(_ path: String, digest: ContentDigest? = nil) throws -> TrainedIndex {
    let file = try InputFile(path: path)
    let header = try FaissFile.readHeader(of: file, kind: "trained index")
    guard header.count == 0 else {
      throw IndexerError(.integrity, "\(path) is not a trained index: it holds \(header.count) rows")
    }
    if let digest {
      let found = try Disk.digest(of: path)
      guard found == digest else {
        throw IndexerError(
          .integrity, "\(path) has SHA-256 \(found.prefix(12)), expected \(digest.prefix(12))",
          hint: "delete the file and train again")
      }
    }
    return header.trained
  }
}
