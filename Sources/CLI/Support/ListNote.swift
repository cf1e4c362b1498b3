// What is said of more lists than a version has. It is no error: scripts ask many versions for the same number.

internal import Base
internal import Lake

extension GlobalOptions {
  /// Says that a version has fewer lists than were asked for.
  ///
  /// - Parameters:
  ///   - version: The version.
  ///   - asked: What the user said; nothing where it is a default.
  ///   - catalog: Its lake.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  func tellOfLists(of version: IndexVersion, asked: [Int], _ catalog: LakeCatalog) throws {
    guard let most = asked.max() else { return }
    let count = try catalog.trainedIndex(id: version.trainedIndexID).nlist
    guard most > count else { return }
    let above = Set(asked.filter { $0 > count }).sorted().map(String.init).joined(separator: ",")
    note(
      "tarn: \(version.name) has \(count.counted("list")), all of which are visited with --nprobe \(above)")
  }
}
