internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn source mirror`: the places that serve a source.
struct SourceMirror: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mirror", abstract: "List, add, remove and order the mirrors of a source.",
    subcommands: [MirrorList.self, MirrorAdd.self, MirrorRemove.self, MirrorOrder.self])
}

/// `tarn source mirror list NAME`.
struct MirrorList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the mirrors of a source in the order in which they are asked.",
    discussion: """
      EXAMPLES
        tarn source mirror list images

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func run() throws {
    let catalog = try global.read()
    let source = try catalog.fileSource(of: catalog.source(named: name))
    let mirrors = try catalog.mirrors(of: source)
    func shown(_ template: String) -> String { AddressText(template).redacted(keeping: source.keptQuery) }
    if global.json {
      for mirror in mirrors {
        Output.json([
          "mirror": .count(mirror.priority), "template": .string(shown(mirror.template)),
          "provenance": .string(mirror.isReconstructed ? "reconstructed" : "original"),
          "revisions": .count(mirror.revisionCount),
        ])
      }
    } else {
      var table = Table(["mirror", "provenance", "revisions", "template"])
      for mirror in mirrors {
        table.add([
          .integer(Int64(mirror.priority)), .text(mirror.isReconstructed ? "reconstructed" : "original"),
          .integer(Int64(mirror.revisionCount)), .text(shown(mirror.template)),
        ])
      }
      table.print(as: .table)
    }
    Output.flush()
  }
}

/// `tarn source mirror add NAME TEMPLATE`.
struct MirrorAdd: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Add a further place that serves the same shards.",
    discussion: """
      It is asked behind those that are there. Versions that are sealed keep naming the mirrors of their time.

      A directory of this machine, by its path or as file:///DIR, has the shards under the names of their files. What it
      lacks is said. So a source whose directory moved is told where it is: `tarn source mirror order` puts it first, and
      `tarn source refresh` looks into it.

      EXAMPLES
        tarn source mirror add images 'https://other.example/img_emb/img_emb_{ordinal:04}.npy'
        tarn source mirror add images ../features/img_emb
        tarn source mirror add images 'command:python3 /opt/embed.py {ordinal} {output}'

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @Argument(
    help: "Where the shards are: a URL with {ordinal} or {ordinal:04} where the number goes, or a directory.",
    completion: .directory)
  var template: String

  @Flag(help: "Its files were made again by somebody: the same size, other bytes. It is asked last.")
  var reconstructed = false

  @Option(
    help: ArgumentHelp("A query item of the addresses that is no secret, to be kept; repeatable.", valueName: "name"))
  var keepQuery: [String] = []

  @Option(
    help: ArgumentHelp(
      "A file that a command reads, {input} in it; hashed at each run; repeatable.", valueName: "template"))
  var input: [String] = []

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let changes = try SourceChanges(
      writer.open(global, "source mirror add", name, on: [.source: [name], .mirrors: [name]]), of: name)
    let template = try CommandAddress.template(
      template, reading: input, below: SystemPath.workingDirectory)
    let added = try changes.addMirror(template, isReconstructed: reconstructed, keptQuery: keepQuery)
    if global.json {
      Output.json([
        "source": .string(name), "mirror": .optionalCount(added.place), "new": .bool(added.place != nil),
        "missing": .strings(added.missing),
      ])
    } else {
      Output.line(added.place.map { "\(name) has it as mirror \($0)" } ?? "\(name) had that mirror before")
      if !added.missing.isEmpty {
        Output.line(
          "\(added.missing.count.counted("shard")) \(added.missing.count == 1 ? "is" : "are") not there: "
            + added.missing.listed(5))
      }
    }
    Output.flush()
  }
}

/// `tarn source mirror remove NAME MIRROR`.
struct MirrorRemove: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove", abstract: "Remove a mirror that no recorded bytes came from.",
    discussion: """
      A mirror that shards were fetched from stays, as they name it; `tarn source mirror order` has it asked last. The
      history keeps what the mirror was.

      EXAMPLES
        tarn source mirror remove images 1

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @Argument(help: "The mirror: its number, as `tarn source mirror list` shows it, or its template.")
  var mirror: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let changes = try SourceChanges(writer.open(global, "source mirror remove", name, on: [.source: [name]]), of: name)
    let template = try changes.removeMirror(mirror).withoutSecrets
    if global.json {
      Output.json(["source": .string(name), "removed": .string(template)])
    } else {
      Output.line("\(name) is not fetched from \(template) any more")
    }
    Output.flush()
  }
}

/// `tarn source mirror order NAME MIRROR…`.
struct MirrorOrder: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "order", abstract: "Say in which order the mirrors of a source are asked.",
    discussion: """
      EXAMPLES
        tarn source mirror order images 1 0

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @Argument(help: "Every mirror, the first first: numbers, as `tarn source mirror list` shows them, or templates.")
  var mirrors: [String]

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let changes = try SourceChanges(
      writer.open(global, "source mirror order", name, on: [.source: [name], .mirrors: [name]]), of: name)
    let isNew = try changes.orderMirrors(mirrors)
    if global.json {
      Output.json(["source": .string(name), "new": .bool(isNew)])
    } else {
      Output.line(isNew ? "the mirrors of \(name) are asked in that order" : "the mirrors of \(name) had that order")
    }
    Output.flush()
  }
}
