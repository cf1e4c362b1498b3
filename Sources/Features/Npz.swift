// `.npz`: an archive of NumPy's with one `.npy` file an array. One of them is read: in place
// where it is stored, inflated front to back where it is deflated.
// Format: https://numpy.org/doc/stable/reference/generated/numpy.savez.html

internal import Base

enum NpzReader: TailReader {
  static let extensions = ["npz"]
  static let holdsArrays = true
  static let magic = ZipDirectory.magic
  static let kind = "a zip archive as \(writer) writes it"
  private static let writer = "numpy.savez"

  static func content(of file: UntrustedFile, array: String?, dimension: Int?) throws -> FeatureContent {
    let archive = try ZipDirectory(file, from: writer)
    let members = archive.entries.filter { $0.name.hasSuffix(".npy") }
    let names = members.map { String($0.name.dropLast(".npy".count)) }
    if let array {
      guard let entry = archive[array + ".npy"] else { throw FeatureFault.noArray(array, of: names) }
      return try content(of: file, entry)
    }
    if members.count == 1 { return try content(of: file, members[0]) }
    // What is surely no matrix, as a list of numbers beside one, leaves nothing to choose. Of what cannot be read
    // nobody knows whether it is the features, so that another array is not taken for them.
    let found = try members.filter { try !isNoMatrix(file, $0) }
    guard found.count == 1, let only = found.first else { throw FeatureFault.noChoice(of: names) }
    return try content(of: file, only)
  }

  private static func content(of file: UntrustedFile, _ entry: ZipDirectory.Entry) throws -> FeatureContent {
    do {
      try requireReadable(entry)
      // No stream of deflate's unfolds further.
      guard entry.method == .stored || entry.byteCount / FeatureContent.mostUnfolded <= entry.packedByteCount else {
        throw FeatureFault("its \(entry.packedByteCount) bytes cannot be \(entry.byteCount) bytes that are packed")
      }
      let header = try header(of: file, entry)
      guard entry.byteCount == header.fileByteCount else {
        throw FeatureFault(
          "it has \(entry.byteCount) bytes; [\(header.rowCount) x \(header.dimension)] \(header.elementType) needs "
            + "\(header.fileByteCount)")
      }
      let isStored = entry.method == .stored
      let layout = try FeatureLayout(
        header.elementType, shape: [header.rowCount, header.dimension],
        dataOffset: isStored ? entry.dataOffset + header.dataOffset : 0)
      let reader = try ZipEntryReader(file, entry)
      try reader.pass(header.dataOffset)
      return FeatureContent(layout: layout, isInPlace: isStored, decoder: reader, fillsFile: false)
    } catch let fault as FeatureFault {
      throw FeatureFault("array '\(entry.name.dropLast(".npy".count))': \(fault.cause)", hint: fault.hint)
    }
  }

  private static func requireReadable(_ entry: ZipDirectory.Entry) throws(FeatureFault) {
    if case .other(let method) = entry.method {
      throw FeatureFault(
        "it is compressed with \(method), which tarn does not read",
        hint: "write it with numpy.savez or numpy.savez_compressed")
    }
    try entry.requirePlain()
  }

  /// Whether an array's header says that it holds no features; it does not where it cannot be read.
  private static func isNoMatrix(_ file: UntrustedFile, _ entry: ZipDirectory.Entry) throws -> Bool {
    do {
      try requireReadable(entry)
      for count in headerByteCounts {
        let start = try ZipEntryReader(file, entry).start(min(count, entry.byteCount))
        if let answer = NpyHeader.saysNoMatrix(start) { return answer }
      }
    } catch is FeatureFault {
      return false
    }
    return false
  }

  /// Bytes of an array's start that are read for its header: what NumPy writes, and the most there can be.
  private static let headerByteCounts = [512, NpyHeader.maximumByteCount]

  private static func header(of file: UntrustedFile, _ entry: ZipDirectory.Entry) throws -> NpyHeader {
    for count in headerByteCounts {
      let reader = try ZipEntryReader(file, entry)
      let start = try reader.start(min(count, entry.byteCount))
      switch NpyHeader.parse(start) {
      case .header(let header): return header
      case .malformed(let cause): throw FeatureFault(cause)
      case .needsMore where start.count == entry.byteCount: break
      case .needsMore: continue
      }
    }
    throw FeatureFault("it ends inside its header")
  }
}
