// A first look at an index that somebody else wrote, before libfaiss sees it: what kind it
// says it is, and whether its first sizes fit into the file. What it lets pass is not trusted.

package import Base

/// The beginning of a FAISS index file.
package enum ForeignHead {
  /// What FAISS writes for kinds that tarn cannot hold, and how people call them.
  private static let others: [String: String] = [
    "IwPQ": "IVF with product quantizer", "IwQR": "IVF with refined product quantizer",
    "IwPf": "IVF with fast-scan codes",
    "IwRQ": "IVF with residual quantizer", "IwLS": "IVF with local search quantizer",
    "IwSh": "IVF with spectral hash", "Iwrq": "IVF with RaBitQ codes",
    "IxPT": "a transform in front of an index (PCA, OPQ)", "IxMp": "ids over an index (IndexIDMap)",
    "IxM2": "ids over an index (IndexIDMap2)", "IxRF": "an index with a refining one (IndexRefine)",
    "IxFI": "flat, without lists", "IxF2": "flat, without lists", "IxFl": "flat, without lists",
    "IxPq": "a product quantizer without lists", "IxPo": "a product quantizer without lists",
    "IxSQ": "a scalar quantizer without lists", "IxHe": "hashes", "IHNf": "HNSW without lists",
    "IHNs": "HNSW without lists", "IHNp": "HNSW without lists", "Imiq": "a multi-index", "IxSS": "several indexes",
    "INSf": "NSG without lists", "IBwF": "binary IVF", "IBxF": "binary", "IBHf": "binary HNSW", "IBMp": "binary",
  ]

  /// Looks at a file's beginning.
  ///
  /// - Parameter file: The file.
  /// - Throws: ``TarnError`` `.usage` naming a kind that tarn cannot hold; `.integrity`
  ///   for what is no FAISS index, or one that says sizes which the file has not.
  package static func check(_ file: InputFile) throws {
    func lie(_ what: String) -> TarnError {
      TarnError(
        .integrity, "\(file.path) says \(what), and has \(file.byteCount) bytes", hint: "get the file again, whole")
    }
    var cursor = FileCursor(file, kind: "FAISS index", hint: "get the file again, whole")
    func tooShort() -> TarnError {
      TarnError(
        .integrity, "\(file.path) is no whole FAISS index: it has \(file.byteCount) bytes",
        hint: "get the file again, whole")
    }
    guard file.byteCount >= 4 else { throw tooShort() }
    let fourcc = String(decoding: try cursor.bytes(4, "its first four bytes"), as: UTF8.self)
    guard fourcc == "IwSq" || fourcc == "IwFl" else {
      if let name = others[fourcc] { throw refused(file.path, "it is \(name)") }
      throw TarnError(
        .integrity, "\(file.path) is no FAISS index that tarn knows: it begins with '\(fourcc.printable)'",
        hint: "name the file that faiss.write_index wrote")
    }
    // Two heads, the fourccs before them and the sizes between.
    guard file.byteCount >= FaissFile.centroidsOffset else { throw tooShort() }
    let dimension = Int(try cursor.integer(Int32.self, "the dimension"))
    let count = try cursor.integer(Int64.self, "ntotal")
    guard (1...65_536).contains(dimension) else { throw lie("it has rows of \(dimension) elements") }
    cursor.skip(16)
    let isTrained = try cursor.integer(UInt8.self, "is_trained")
    guard isTrained != 0 else { throw refusal(ofWord: "untrained", "", of: file.path) }
    let metric = try cursor.integer(Int32.self, "the metric")
    guard metric == 0 else { throw refusal(ofWord: "metric", "", of: file.path) }
    let nlist = try cursor.integer(UInt64.self, "nlist")
    let room = UInt64(file.byteCount)
    guard nlist >= 1, nlist <= UInt64(maximumListCount), nlist * UInt64(4 * dimension) <= room else {
      throw lie("it has \(nlist) lists of \(dimension) dimensions")
    }
    // A row has an id, and a code of half a byte for each component at least.
    guard count >= 0, UInt64(count) <= room / UInt64(8 + dimension / 2) else { throw lie("it holds \(count) rows") }
  }

  /// The error that tarn cannot hold an index.
  static func refused(_ path: String, _ why: String, hint: String? = nil) -> TarnError {
    TarnError(
      .usage, "tarn cannot adopt \(path): \(why)",
      hint: hint ?? "it takes IVF with flat, SQ4, SQ8 or fp16 codes and inner product; make such an index from it")
  }

  /// What the helper's word for a refusal means.
  ///
  /// - Parameters:
  ///   - word: The word.
  ///   - detail: What it adds; not trusted.
  ///   - path: The index.
  /// - Returns: The error; for a word that the helper has not, that it failed.
  static func refusal(ofWord word: String, _ detail: String, of path: String) -> TarnError {
    let detail = String(detail.printable.prefix(80))
    return switch word {
    case "class": refused(path, "it is an \(detail)")
    case "metric":
      refused(
        path, "it compares by distance (L2)",
        hint: "rows and queries of unit length rank alike under inner product: make it with METRIC_INNER_PRODUCT")
    case "residual":
      refused(
        path, "its codes are residuals to the centroids (by_residual)",
        hint: "make it with by_residual = False: index.by_residual = False before train")
    case "codec": refused(path, "its scalar quantizer is of type \(detail), not 4 bits, 8 bits or fp16")
    case "coarse": refused(path, "its coarse quantizer is \(detail), not IndexFlatIP or HNSW over it")
    case "coarse-metric":
      refused(
        path, "its coarse quantizer compares by distance (L2)",
        hint: "make it with an IndexFlatIP: scores of queries against centroids rank the lists")
    case "untrained": refused(path, "it is not trained", hint: "call index.train first")
    case "lists-elsewhere":
      refused(path, "its lists are in another file", hint: "read it whole and write it again with faiss.write_index")
    case "lists": refused(path, "its lists are \(detail)")
    case "shape": TarnError(.integrity, "\(path) contradicts itself: \(detail)", hint: "get the file again, whole")
    case "cut":
      TarnError(.integrity, "\(path) ends before its lists do: it was cut off", hint: "get the file again, whole")
    case "values":
      TarnError(
        .integrity, "\(path) has \(detail)",
        hint: "get the file again, or train it again on rows of finite numbers alone")
    default: TarnError(.engine, "\(path) was refused for what tarn does not know: \(word.printable) \(detail)")
    }
  }
}
