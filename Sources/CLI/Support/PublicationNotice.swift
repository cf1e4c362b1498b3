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

  /// Keeps in the history that a version was exported, where that can be written.
  ///
  /// Who may only read exports, too. A command that has the whole lake is waited for: what the history does not tell of,
  /// nothing names when rows have to go.
  ///
  /// - Parameters:
  ///   - name: The version.
  ///   - folder: Where to, absolute.
  ///   - digest: Of the index there.
  ///   - wait: How long to wait.
  ///   - global: Says for whom it waits, and when to stop.
  /// - Throws: ``TarnError`` `.interrupted`.
  func noteExport(
    of name: VersionName, into folder: String, _ digest: ContentDigest, waiting wait: Duration, _ global: GlobalOptions
  ) throws {
    let deadline = ContinuousClock.now + wait
    var isTold = false
    func warn(_ error: any Error) {
      Output.warn(
        "\(folder.printableLine) is written, and the history cannot be told of it, so that nothing here names it later: "
          + "\(error)")
    }
    while true {
      do {
        let writer = try LakeCatalog.open(root: layout.root, command: "export \(name)") { _ in [] }
        return try writer.recordPublication(.exported, of: name, at: folder.printableLine, digest, isNew: true)
      } catch let error as TarnError where error.code == .locked && ContinuousClock.now < deadline {
        if !isTold { global.note("tarn: waiting to tell the history of \(folder.printableLine): \(error.message)") }
        isTold = true
        do {
          try global.cancellation.sleep(for: .milliseconds(200))
        } catch let stop {
          warn(error)
          throw stop
        }
      } catch {
        return warn(error)
      }
    }
  }
}
