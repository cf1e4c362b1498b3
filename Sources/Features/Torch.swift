// A file of `torch.save` with one tensor: an archive with `data.pkl`, which
// describes it, and `data/KEY`, its elements as they lie in memory.

internal import Base

enum TorchReader: TailReader {
  static let extensions = ["pt", "pth", "tensor"]
  static let magic = ZipDirectory.magic
  static let kind = "a zip archive as \(writer) writes it"
  private static let writer = "torch.save"

  /// The most bytes of a pickle that are looked at; one tensor takes about 250.
  private static let maximumPickleByteCount = 64 << 10

  /// The rows of its one tensor, and who holds the storage that they are in against its checksum.
  static func content(of file: UntrustedFile, array: String?, dimension: Int?) throws -> FeatureContent {
    let (layout, storage) = try tensor(of: file)
    // 0: PyTorch was told to compute none, see torch.serialization.set_crc32_options.
    let decoder: StorageDecoder? =
      try storage.crc32 == 0
      ? nil
      : StorageDecoder(ZipEntryReader(file, storage), leadingByteCount: layout.dataOffset - storage.dataOffset)
    return FeatureContent(layout: layout, isInPlace: true, decoder: decoder, fillsFile: false)
  }

  /// Reads what a `.pt` file says of its one tensor.
  ///
  /// - Parameter file: The file.
  /// - Returns: Where its elements are, and the entry that has them and maybe others.
  /// - Throws: ``FeatureFault`` for anything but one contiguous matrix of
  ///   a type that tarn reads; ``TarnError`` `.io`.
  private static func tensor(
    of file: UntrustedFile
  ) throws -> (layout: FeatureLayout, storage: ZipDirectory.Entry) {
    let archive = try ZipDirectory(file, from: writer)
    let pickles = archive.entries.filter { $0.name.split(separator: "/").last == "data.pkl" }
    guard pickles.count == 1, let entry = pickles.first else {
      throw FeatureFault("its zip archive has \(pickles.count) entries data.pkl; it is not from torch.save")
    }
    guard entry.byteCount <= maximumPickleByteCount else {
      throw FeatureFault("its pickle has \(entry.byteCount) bytes; tarn reads a file with one tensor")
    }
    try entry.requireStored()
    let root = entry.name.dropLast("data.pkl".count)
    let pickle = try file.bytes(at: entry.dataOffset, count: entry.byteCount, "its pickle")
    // 0: as of a storage.
    guard entry.crc32 == 0 || ZipDirectory.crc32(pickle) == entry.crc32 else {
      throw FeatureFault("its pickle is damaged: wrong CRC")
    }
    if let order = archive[root + "byteorder"] {
      try order.requireStored()
      let word = try file.bytes(at: order.dataOffset, count: min(order.byteCount, 16), "its byte order")
      guard word.elementsEqual("little".utf8) else { throw FeatureFault("its elements are not little-endian") }
    }
    let tensor = try TensorPickle(pickle)
    guard let storage = archive[root + "data/" + tensor.storageKey] else {
      throw FeatureFault("its zip archive has no storage \(tensor.storageKey)")
    }
    try storage.requireStored()
    let width = tensor.elementType.byteCount
    guard tensor.storageCount >= 0, storage.byteCount % width == 0, storage.byteCount / width == tensor.storageCount
    else {
      throw FeatureFault("its storage has \(storage.byteCount) bytes, not \(tensor.storageCount) elements")
    }
    guard (0...tensor.storageCount).contains(tensor.offset) else {
      throw FeatureFault("its tensor begins outside its storage")
    }
    let layout = try FeatureLayout(
      tensor.elementType, shape: tensor.shape, dataOffset: storage.dataOffset + tensor.offset * width)
    guard layout.dataByteCount <= (tensor.storageCount - tensor.offset) * width else {
      throw FeatureFault("its tensor is larger than its storage")
    }
    guard tensor.strides.count == 2, tensor.strides[1] == 1 || layout.dimension == 1,
      tensor.strides[0] == layout.dimension || layout.rowCount <= 1
    else { throw FeatureFault("its tensor is not contiguous; save it with .contiguous()") }
    return (layout, storage)
  }
}

/// The rows of a tensor, which may be a part of its storage: all of that has one checksum.
private final class StorageDecoder: RowDecoder {
  private let reader: ZipEntryReader
  /// Bytes of the storage before the tensor that were not passed over yet.
  private var leadingByteCount: Int

  init(_ reader: ZipEntryReader, leadingByteCount: Int) {
    (self.reader, self.leadingByteCount) = (reader, leadingByteCount)
  }

  func read(into output: UnsafeMutableRawBufferPointer) throws {
    try reader.pass(leadingByteCount)
    leadingByteCount = 0
    try unsafe reader.read(into: output)
  }

  func finish() throws {
    try reader.pass(reader.leftByteCount)
    try reader.finish()
  }
}
