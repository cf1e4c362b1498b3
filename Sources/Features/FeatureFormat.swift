// The formats of feature files, told apart by their names. Each is read in a file
// of its own; whoever looks into a feature file goes through here.

package import Base

/// How a feature file is laid out.
package enum FeatureFormat: String, Sendable, CaseIterable {
  /// NumPy's, also for names that say nothing.
  case npy
  /// An archive of arrays, each a `.npy` file.
  case npz
  /// What `torch.save` writes: a zip archive with a pickle and the elements.
  case torch
  case safetensors
  /// A count and a dimension, then float32 rows.
  case fbin
  /// As ``fbin``, of float16, unsigned and signed bytes.
  case f16bin, u8bin, i8bin
  /// float32 rows, each behind its dimension.
  case fvecs
  /// As ``fvecs``, of unsigned bytes.
  case bvecs
  /// A column of lists.
  case parquet

  /// What reads it.
  var reader: any FeatureReader.Type {
    switch self {
    case .npy: NpyReader.self
    case .npz: NpzReader.self
    case .torch: TorchReader.self
    case .safetensors: SafetensorsReader.self
    case .fbin: FbinReader.self
    case .f16bin: F16binReader.self
    case .u8bin: U8binReader.self
    case .i8bin: I8binReader.self
    case .fvecs: FvecsReader.self
    case .bvecs: BvecsReader.self
    case .parquet: ParquetReader.self
    }
  }

  /// Whether its files hold several arrays, or columns, with names.
  package var holdsArrays: Bool { reader.holdsArrays }

  /// Whether every row has its dimension before it, so that only who reads all of a file knows that they agree.
  package var marksRows: Bool { reader.fixedByteCounts.map { $0.gap > 0 } ?? false }

  /// The type that elements have in all files of the format; nil where each file says its own.
  package var onlyElementType: ElementType? { writable.count == 1 ? writable[0] : nil }

  /// What names of its files end in, without the dot.
  package var fileExtension: String { reader.extensions.first ?? rawValue }

  /// Every format by its extension, as a sentence has it: `.npy, … or .fvecs`.
  package static var enumeration: String {
    allCases.map { "." + $0.fileExtension }.alternatives
  }

  /// The format that a file's name says, or `.npy`.
  package init(ofFile path: String) { self = FeatureFormat(extensionOf: path) ?? .npy }

  /// The format that a file's extension says; nil when it is none of them.
  package init?(extensionOf path: String) {
    let name = path.split(separator: "/").last ?? ""
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count > 1, let last = parts.last?.lowercased(),
      let found = FeatureFormat.allCases.first(where: { $0.reader.extensions.contains(last) })
    else { return nil }
    self = found
  }

  /// The rows of a file of so many bytes, where the size alone tells.
  ///
  /// - Parameters:
  ///   - byteCount: Bytes of the whole file.
  ///   - dimension: Elements of a row.
  ///   - elementType: Their type.
  /// - Returns: nil if no such file has that size, or only its header tells.
  package func rowCount(ofByteCount byteCount: Int, dimension: Int, elementType: ElementType) -> Int? {
    guard let (headerByteCount, gapByteCount) = reader.fixedByteCounts else { return nil }
    let rowByteCount = dimension * elementType.byteCount + gapByteCount
    let rest = byteCount - headerByteCount
    return rest >= 0 && rest % rowByteCount == 0 ? rest / rowByteCount : nil
  }
}

/// How one format is read: a file of which nothing is believed, from its first
/// bytes or whole.
protocol FeatureReader {
  /// Extensions of its files, lower case.
  static var extensions: [String] { get }

  /// Bytes before the first row and between rows, where every file has the same;
  /// nil where only a header tells.
  static var fixedByteCounts: (header: Int, gap: Int)? { get }

  /// Reads the beginning of a file.
  ///
  /// - Parameters:
  ///   - start: The file from its start, as much as there is.
  ///   - byteCount: Bytes of the whole file, if somebody said.
  /// - Returns: What it says; nil if more bytes are needed.
  /// - Throws: ``FeatureFault`` when it is no such file.
  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead?

  /// Whether its files hold several arrays with names.
  static var holdsArrays: Bool { get }

  /// Reads where the rows of a whole file are.
  ///
  /// - Throws: ``FeatureFault`` when it is no such file; ``TarnError`` `.io`.
  static func layout(of file: UntrustedFile) throws -> FeatureLayout

  /// Reads what a whole file holds and how its rows are had.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - array: Which of its arrays; nil for the only one.
  ///   - dimension: Elements of a row, if somebody said: what a file without rows may
  ///     not tell.
  /// - Returns: Its shape, and where rows lie or who gives them.
  /// - Throws: ``FeatureFault`` when it is no such file; ``TarnError``.
  static func content(of file: UntrustedFile, array: String?, dimension: Int?) throws -> FeatureContent
}

extension FeatureReader {
  static var holdsArrays: Bool { false }

  /// The rows that lie at the file's layout.
  static func content(of file: UntrustedFile, array: String?, dimension: Int?) throws -> FeatureContent {
    let layout = try layout(of: file)
    let hasGaps = layout.gapByteCount > 0
    return FeatureContent(layout: layout, isInPlace: !hasGaps, decoder: hasGaps ? GapDecoder(file, layout) : nil)
  }

  /// The layout that the beginning gives, of a file that is as long as it says.
  static func layout(of file: UntrustedFile) throws -> FeatureLayout {
    let (layout, byteCount) = try beginning(of: file) { start -> (FeatureLayout, Int)? in
      guard let found = try head(start, byteCount: file.byteCount), let layout = found.layout else { return nil }
      return (layout, found.fileByteCount)
    }
    try requireLength(of: file, byteCount, for: layout.description)
    return layout
  }

  /// What the beginning of a file says, of which so much is read as it takes.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - read: Reads the beginning; gives nil if more bytes are needed.
  /// - Returns: What it says.
  /// - Throws: ``FeatureFault`` where the file ends before; what `read` throws.
  static func beginning<Value>(of file: UntrustedFile, _ read: ([UInt8]) throws -> Value?) throws -> Value {
    var count = min(4096, file.byteCount)
    while true {
      if let value = try read(file.bytes(at: 0, count: count, "its header")) { return value }
      guard count < file.byteCount else {
        throw FeatureFault(
          "it ends inside its header, after \(count) bytes", hint: "it is truncated: fetch it again")
      }
      count = min(2 * count, file.byteCount)
    }
  }

  /// Requires that a file is as long as what it holds.
  static func requireLength(of file: UntrustedFile, _ byteCount: Int, for what: String) throws(FeatureFault) {
    guard file.byteCount == byteCount else {
      throw FeatureFault(
        "it has \(file.byteCount) bytes; \(what) needs \(byteCount)",
        hint: file.byteCount < byteCount ? "it is truncated: fetch it again" : "it has bytes after its last row")
    }
  }
}

/// How a format is read of which only the end tells what it holds.
protocol TailReader: FeatureReader {
  /// What its files begin with.
  static var magic: [UInt8] { get }
  /// What a file is that begins so.
  static var kind: String { get }

  /// Why a file is none that is read, as its first bytes tell; nil where they may be one's.
  static func fault(ofStart start: [UInt8]) -> FeatureFault?
}

extension TailReader {
  static var fixedByteCounts: (header: Int, gap: Int)? { nil }

  static func fault(ofStart start: [UInt8]) -> FeatureFault? {
    start.starts(with: magic.prefix(start.count)) ? nil : FeatureFault("it is not \(kind)")
  }

  /// Only the magic is at the beginning.
  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead? {
    if let fault = fault(ofStart: start) { throw fault }
    guard start.count >= magic.count else { return nil }
    guard let byteCount else {
      throw FeatureFault("nobody says how long it is, and a file of this format does not at its start")
    }
    return FeatureHead(fileByteCount: byteCount)
  }
}
