// Directories that hold a lake's files and no catalog: what they are is said wherever
// a catalog is looked for, and none is made on top of them.

package import Base

/// A lake without its catalog.
package enum LostLake {
  /// The error that a directory is one; nil when it is not.
  ///
  /// - Parameters:
  ///   - layout: The directory, with what lies inside it.
  ///   - code: The error's code.
  /// - Returns: The error, with a way out.
  static func fault(in layout: LakeLayout, _ code: TarnError.Code) -> TarnError? {
    if let name = (try? VersionDirectories.sealed(in: layout))?.first {
      return TarnError(
        code, "\(layout.root) has lost its catalog and holds sealed versions, \(name) for one",
        hint: "restore a backup of catalog.sqlite, or make it again with `tarn rebuild-catalog`")
    }
    // Directories elsewhere bear their owner's mark.
    let inside = LakeLayout(root: layout.root)
    guard let file = shard(in: inside.shards) ?? artifact(in: inside.artifacts) else { return nil }
    return TarnError(
      code, "\(layout.root) has lost its catalog and holds a lake's files, \(file) for one",
      hint: "restore a backup of catalog.sqlite; `tarn rebuild-catalog` needs a sealed version to tell what they are, "
        + "so move shards/ and artifacts/ elsewhere to begin anew")
  }

  /// The error that the nearest lake at or above a directory lost its catalog.
  ///
  /// - Parameter directory: Where to begin.
  /// - Returns: Nil when there is none.
  package static func fault(atOrAbove directory: String) -> TarnError? {
    var path = LakeLayout.absolute(directory)
    while true {
      let layout = LakeLayout(root: path)
      if Disk.size(of: layout.lock) != nil, let fault = fault(in: layout, .noLake) { return fault }
      let parent = path.parentPath
      if parent == path || parent.isEmpty { return nil }
      path = parent
    }
  }

  /// A file that only a lake names so.
  private static func shard(in directory: String) -> String? {
    for source in names(in: directory) {
      let found = names(in: "\(directory)/\(source)").first { LakeLayout.digestPrefix(ofShardPath: $0) != nil }
      if let found { return "\(directory)/\(source)/\(found)" }
    }
    return nil
  }

  private static func artifact(in directory: String) -> String? {
    for kind in names(in: directory) {
      for prefix in names(in: "\(directory)/\(kind)") {
        let found = names(in: "\(directory)/\(kind)/\(prefix)").map { "\(kind)/\(prefix)/\($0)" }
          .first { LakeLayout.artifact(atPath: $0) != nil }
        if let found { return "\(directory)/\(found)" }
      }
    }
    return nil
  }

  private static func names(in directory: String) -> [String] {
    (try? Disk.namesIfAny(in: directory)) ?? []
  }
}
