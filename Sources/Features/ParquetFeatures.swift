// Features in a list column of a parquet file, see the module that reads those.

internal import Base
internal import Parquet

enum ParquetReader: TailReader {
  static let extensions = ["parquet"]
  static let holdsArrays = true
  static let magic: [UInt8] = Array("PAR1".utf8)
  static let kind = "a parquet file"

  static func fault(ofStart start: [UInt8]) -> FeatureFault? {
    ParquetFile.fault(ofStart: start).map { FeatureFault($0) }
  }

  static func content(of file: UntrustedFile, array: String?, dimension: Int?) throws -> FeatureContent {
    let parquet = try ParquetFile(file.input)
    let name = try array ?? onlyColumn(of: parquet)
    // Without rows nothing tells their dimension but who knows it.
    let reader = try FloatListReader(parquet, column: name, dimension: parquet.rowCount == 0 ? dimension : nil)
    let layout = try FeatureLayout(reader.elementType, shape: [reader.rowCount, reader.dimension], dataOffset: 0)
    // Runs and dictionaries say much in a few bytes: more than memory holds is not believed of them.
    guard
      layout.dataByteCount <= DecodedRows.mostInMemory
        || layout.dataByteCount / FeatureContent.mostUnfolded <= reader.packedByteCount
    else {
      throw FeatureFault(
        "column '\(name.printable)': its \(reader.packedByteCount) bytes say \(layout.dataByteCount) bytes of rows, which no features are"
      )
    }
    return FeatureContent(layout: layout, isInPlace: false, decoder: ColumnDecoder(reader))
  }

  private static func onlyColumn(of file: ParquetFile) throws -> String {
    let names = file.columns.filter(\.holdsFloatLists).map(\.name)
    if names.count == 1 { return names[0] }
    guard !names.isEmpty else {
      let others = file.columns.prefix(20).map { $0.name.printable }.joined(separator: ", ")
      throw FeatureFault("it has no column of lists of floats", hint: "its columns are \(others)")
    }
    throw FeatureFault.noChoice(of: names)
  }
}

/// The rows of a column.
private final class ColumnDecoder: RowSeeker {
  private let reader: FloatListReader

  init(_ reader: FloatListReader) { self.reader = reader }

  func read(into output: UnsafeMutableRawBufferPointer) throws {
    try unsafe reader.read(rows: output.count / (reader.dimension * reader.elementType.byteCount), into: output)
  }

  func seek(toRow row: Int) throws { try reader.seek(toRow: row) }

  /// The reader holds the last row group against its end with the last row.
  func finish() {}
}
