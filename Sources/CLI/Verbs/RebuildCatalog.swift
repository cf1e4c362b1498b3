internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn rebuild-catalog`: a lost catalog, made again from the lake's files.
struct RebuildCatalog: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebuild-catalog",
    abstract: "Make a catalog that was lost or is damaged again from the files of its lake.",
    discussion: """
      A backup keeps more: put it in the place of catalog.sqlite when there is one. Without one, the sealed versions are
      found by the lock files and documents in versions/, with their sources, revisions, trained indexes and outputs;
      every shard and every file of results is read, and what is missing or damaged is said. A good catalog is never
      replaced, a damaged one is set aside under another name. A segment is taken up again when the output of a sealed
      version holds the same rows and codes; other whole files that no version refers to stay and are known: `tarn gc`
      lists them. What documents and lock files say is held against each other and against
      the shards that are here; a version whose files do not hold is left out, with the reason, and the others are made
      again. A trained index that is lost is taken from an output that was made with it.

      Rows that a version was made without are excluded again. Only where a higher number of the same name, made in this
      lake, has them again are they taken for readmitted, and how many is said. A version is revoked again where a file
      NAME.revoked beside its lock file says so, and pinned again where NAME.pinned does: `tarn revoke` and `tarn pin`
      leave them there, and `tarn gc --apply` of what an older tarn revoked or pinned.

      Addresses come from documents then: those that lead to this machine, its files or its network are asked again only
      once --allow-inside says that they are meant, here or with `tarn sync`.

      What no file tells is lost: the history, evaluations, transfers, unfinished work, what --source of `tarn adopt
      version` said, and sources and trained indexes that no sealed version uses. Adopted versions of this lake are named:
      rows that are excluded are found in them again until they are adopted once more, with --source.

      EXAMPLES
        tarn rebuild-catalog --lake laion
        tarn rebuild-catalog --lake laion --shards /nvme/shards --artifacts /disk/results

      \(ExitStatus.help)
      """)

  @OptionGroup var directories: LakeDirectoryOptions

  @Flag(help: "The addresses of the documents may lead to this machine, its files and its network.")
  var allowInside = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let progress = global.progress("rebuild-catalog")
    let root = try root()
    let (shards, artifacts) = directories.places
    let run = RebuildRun(
      root: root, shards: shards, artifacts: artifacts, allowsInside: allowInside,
      wait: writer.wait?.duration ?? .zero, cancellation: global.cancellation)
    let summary = try run.run { path in progress.note("reading \(path)") }
    progress.clear()
    let remarks = summary.remarks
    if global.json {
      Output.json([
        "lake": .string(root), "sources": .count(summary.sources), "shards": .count(summary.shards),
        "present": .count(summary.present), "revisions": .count(summary.revisions),
        "trained_indexes": .count(summary.trainedIndexes),
        "versions": .array(summary.versions.map { .string("\($0)") }),
        "revoked": .array(summary.revoked.map { .string("\($0)") }),
        "pinned": .array(summary.pinned.map { .string("\($0)") }),
        "adopted": .array(summary.adopted.map { .string("\($0)") }), "outputs": .count(summary.outputs),
        "segments": .count(summary.segments), "readmitted": .count(summary.readmitted),
        "unreferenced": .count(summary.unreferenced),
        "unreferenced_bytes": .count(summary.unreferencedByteCount),
        "remarks": .strings(remarks), "set_aside": .optional(summary.setAside),
      ])
    } else {
      Output.line(
        "\(summary.sources.counted("source")), \(summary.shards.counted("shard")) (\(summary.present) in the lake), "
          + "\(summary.trainedIndexes) trained indexes, \(summary.versions.count.counted("version")), "
          + "\(summary.outputs.counted("output")), \(summary.segments.counted("segment"))")
      if !summary.revoked.isEmpty {
        Output.line("revoked as before: \(summary.revoked.map { "\($0)" }.joined(separator: ", "))")
      }
      if !summary.pinned.isEmpty {
        Output.line("pinned as before: \(summary.pinned.map { "\($0)" }.joined(separator: ", "))")
      }
      if let first = summary.adopted.first {
        let names = summary.adopted.map { "\($0)" }.joined(separator: ", ")
        Output.line(
          "whose rows the ids of \(names) count is not known any more, so rows of theirs that are excluded can be found "
            + "again: adopt the files in versions/\(first) under another name with `tarn adopt version`, --trained and "
            + "--source, then `tarn revoke \(first) --reason TEXT`")
      }
      for remark in remarks { Output.line(remark) }
      if summary.readmitted > 0 {
        Output.line(
          "\(summary.readmitted.counted("row")) that a version was made without and a later one of its name has again: "
            + "not excluded any more")
      }
      if summary.unreferenced > 0 {
        Output.line(
          "\(summary.unreferenced.counted("whole file")) (\(ByteSize.text(summary.unreferencedByteCount))) that no version refers to; "
            + "`tarn gc` lists them")
      }
      Output.line(RebuildSummary.unknowable)
      if let aside = summary.setAside { Output.line("the damaged catalog is \(aside)") }
    }
    Output.flush()
    guard remarks.isEmpty else {
      throw Outcome(.integrity, "\(remarks.count) thing\(remarks.count == 1 ? "" : "s") could not be made again whole")
    }
  }

  /// The lake's directory; without a catalog, nothing else marks it.
  private func root() throws -> String {
    if let named = global.lake { return LakeLayout.absolute(named) }
    if let named = SystemPath.variable("TARN_LAKE") { return LakeLayout.absolute(named) }
    return SystemPath.workingDirectory
  }
}
