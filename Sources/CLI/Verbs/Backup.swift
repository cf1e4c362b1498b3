internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn backup`: a checked copy of the catalog.
struct Backup: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Write a checked copy of the catalog, while others read and write.",
    discussion: """
      The copy is one consistent state, with its integrity and references checked before it gets its name; an earlier
      backup of that name is replaced. To restore it, put it in the place of catalog.sqlite while no tarn is running,
      and remove catalog.sqlite-wal and catalog.sqlite-shm, which are of the catalog before: with a log of another
      catalog beside it every command ends with 10. The files of the lake are not copied: `tarn verify` tells
      which of them a restored catalog misses, and which versions were sealed since that it does not know. Nothing of
      these is replaced.

      A restored copy has forgotten what was recorded since: rows that were excluded, which searches show again, versions that
      were revoked, which are sealed again and served as long as their files are there, pins, versions that were sealed,
      sources, mirrors and shards. verify and doctor can name the versions alone, by their directories, and doctor their
      revocations and pins. So keep the lists of takedowns, and the head of the history after each, outside the lake: the
      newest hash of v_event, which backup and verify print, too. `tarn verify --expect HASH` ends with 20 where a restored
      catalog has not been through it; then run `tarn exclude` and `tarn revoke` again, as the lists say, before anything is
      searched or served.

      A copy is also made before a newer tarn changes an older catalog: catalog.sqlite.backup-schemaN.

      EXAMPLES
        tarn backup /backups/laion.sqlite
        tarn sql "SELECT at, hash FROM v_event ORDER BY seq DESC LIMIT 1" --format jsonl

      \(ExitStatus.help)
      """)

  @Argument(help: "The copy.", completion: .file())
  var file: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func run() throws {
    let summary = try LakeCatalog.open(root: global.lakeRoot(), writing: nil, orOlder: true).backup(to: file)
    if global.json {
      Output.json([
        "path": .string(summary.path), "bytes": .count(summary.byteCount), "schema": .count(summary.schemaNumber),
        "newest_event": .optional(summary.newestEventHash),
      ])
    } else {
      Output.line("\(summary.path): \(ByteSize.text(summary.byteCount)), schema \(summary.schemaNumber)")
      if let hash = summary.newestEventHash { Output.line("newest event \(hash)") }
    }
    Output.flush()
  }
}
