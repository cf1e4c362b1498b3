internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn schema`: the public views, column by column; and the step to a newer one.
struct Schema: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema", abstract: "Describe the catalog's views, column by column.",
    discussion: """
      A command that writes migrates a catalog of an older tarn first, one that only reads refuses it; --migrate does
      that and nothing else. A checked copy of the catalog as it was stays beside it: catalog.sqlite.backup-schemaN.

      EXAMPLES
        tarn schema
        tarn schema v_shard
        tarn schema --migrate
        tarn schema --datasette > metadata.json; datasette catalog.sqlite --metadata metadata.json

      \(ExitStatus.help)
      """)

  @Argument(help: "A view; all by default.")
  var view: String?

  @Flag(help: "Print metadata for Datasette: questions in SQL, and what each column means.")
  var datasette = false

  @Flag(help: "Bring a catalog of an older tarn to this one's schema.")
  var migrate = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    if migrate, datasette || view != nil { throw ValidationError("--migrate goes by itself.") }
  }

  func run() throws {
    if migrate {
      _ = try writer.open(global, "schema --migrate")
      if global.json {
        Output.json(["schema": .count(LakeCatalog.schemaNumber)])
      } else {
        Output.line("the catalog has schema \(LakeCatalog.schemaNumber)")
      }
      return Output.flush()
    }
    if datasette {
      let metadata = CannedQuery.datasetteMetadata(try global.read().viewDocumentation())
      Output.json(text: global.json ? metadata.text : metadata.indentedText)
      return Output.flush()
    }
    let views = try global.read().viewDocumentation().filter { view == nil || $0.name == view }
    guard !views.isEmpty else {
      throw TarnError(
        .notFound, "there is no view named '\((view ?? "").printable)'", hint: "`tarn schema` lists them")
    }
    if global.json {
      Output.json(
        Dictionary(
          uniqueKeysWithValues: views.map { view in
            (
              view.name,
              .array(view.columns.map { .object(["column": .string($0.name), "meaning": .string($0.meaning)]) })
            )
          }))
    } else {
      for view in views {
        Output.line(view.name)
        let rows = view.columns.map { [$0.name, $0.meaning] }
        let layout = TextColumns(rows) { _ in false }
        for row in rows { Output.line("  \(layout.line(row))") }
      }
    }
    Output.flush()
  }
}
