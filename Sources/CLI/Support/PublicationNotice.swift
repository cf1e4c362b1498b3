// Where copies of a version are that no command takes away.

internal import Base
internal import Lake

extension LakeCatalog {
  /// Says where copies of a version were written for others, and that they are to be removed there.
  ///
  /// - Parameter name: The version, which must not be used any more, or has rows that must go.
  /// - Throws: ``TarnError``.
  func tellOfPublications(of name: VersionName) throws {
    for copy in try publications(of: name) {
      let how = copy.kind == .exported ? "exported into" : "pushed to"
      Output.line("\(name) was \(how) \(copy.place.printableLine); remove it there")
    }
  }

  /// Keeps in the history that a version was exported, where that can be written now.
  ///
  /// Who may only read exports, too.
  ///
  /// - Parameters:
  ///   - name: The version.
  ///   - folder: Where to, absolute.
  ///   - digest: Of the index there.
  func noteExport(of name: VersionName, into folder: String, _ digest: ContentDigest) {
    do {
      let writer = try LakeCatalog.open(root: layout.root, command: "export \(name)") { _ in [] }
      try writer.recordPublication(.exported, of: name, at: folder.printableLine, digest, isNew: true)
    } catch {
      Output.warn(
        "\(folder.printableLine) is written, and the history cannot be told of it: \(error)")
    }
  }
}
