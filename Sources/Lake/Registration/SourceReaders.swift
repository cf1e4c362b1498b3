// What the sources that read one set of files expect of it, together.

internal import Base
internal import Catalog
internal import Features
internal import Fetch

extension ShardExpectation {
  /// What is known of a file, and what each source expects that reads it.
  ///
  /// - Parameters:
  ///   - byteCount: Its size, if known.
  ///   - digest: Its digest, likewise.
  ///   - readers: The sources that read it, the one that has it first.
  ///   - format: How it is laid out.
  init(byteCount: Int? = nil, digest: ContentDigest? = nil, readBy readers: [Source], format: FeatureFormat) {
    let owner = readers[0]
    self.init(
      byteCount: byteCount, digest: digest, dimension: owner.dimension, elementType: owner.elementType, format: format,
      array: owner.array)
    others = readers.dropFirst().compactMap { reader in
      reader.array.map {
        ArrayExpectation(array: $0, dimension: reader.dimension, elementType: reader.elementType)
      }
    }
  }
}

extension LakeCatalog {
  /// How it is said which array of its files a source reads, for messages: it keeps what it was registered with.
  func wayToArray(of source: Source) -> String {
    allowsOtherRows(of: source)
      ? "`tarn source remove \(source.name)`, and add it again with `tarn source add \(source.name) --array NAME`"
      : "register the files under another name, with `tarn source add … --array NAME`"
  }
}
