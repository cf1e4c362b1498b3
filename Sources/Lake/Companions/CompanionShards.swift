// What is asked of a companion's file when it comes: that it is of its format, and how
// many rows it has; and which columns one has that is here.

internal import Base
internal import Catalog
internal import Companions
internal import Fetch

extension FileExamination {
  /// That of a companion's shard.
  static func ofCompanion(_ name: String) -> FileExamination {
    FileExamination(
      faultOfStart: { start in
        guard let format = CompanionFormat(ofFile: name) else { return "its name says no format of rows" }
        return format.fault(ofStart: start)
      }, rowCount: { try CompanionFile($0, named: name).rowCount() })
  }
}

extension LakeCatalog {
  /// The columns of a companion's shard, those that are not read too, as a pack or the file has them.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - names: Columns that are looked for: where they are found others may be left away.
  ///   - checkpoint: Called between rows of a file that is read for it; an error of it ends the reading.
  /// - Returns: Their names; nil where nothing here tells.
  /// - Throws: ``TarnError`` `.badFeatures`, `.integrity`, `.io` for what cannot be read.
  func columns(
    ofCompanionShard shard: Shard, until names: Set<String>, checkpoint: () throws -> Void
  ) throws -> [String]? {
    guard let revision = shard.revision else { return nil }
    let path = layout.existingPath(shard.path, in: .shards)
    for (pack, place) in try ArtifactStore(self).packs(of: revision.digest) {
      let opened: PackFile
      do {
        opened = try PackFile(path: place, of: revision.digest)
      } catch let error as TarnError where error.isOfBytes {
        // The file itself tells more.
        guard path == nil else { continue }
        throw error
      }
      guard pack.columns == nil || names.isSubset(of: Set(opened.columns)) else { continue }
      return opened.columns + (path == nil ? [] : opened.leftOut.map(\.name))
    }
    guard let path else { return nil }
    let file = try CompanionFile(path, named: shard.name)
    return try file.columns(until: names, checkpoint: checkpoint) + file.leftOut().map(\.name)
  }
}
