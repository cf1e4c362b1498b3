internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn source set NAME`: correct what its rows are.
struct SourceSet: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "set", abstract: "Correct what the rows of a source are.",
    discussion: """
      The modality may be corrected as long as no version rests on the source, dimension and dtype as long as nothing was
      fetched of it.

      EXAMPLES
        tarn source set captions --modality text
        tarn source set images --dtype float32 --dimension 512

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @Option(help: ArgumentHelp("What the rows are features of: image, text or other.", valueName: "kind"))
  var modality: Modality?

  @Option(help: ArgumentHelp("Elements per row.", valueName: "d"))
  var dimension: Int?

  @Option(help: ArgumentHelp("Element type: \(ElementType.enumeration).", valueName: "type"))
  var dtype: ElementType?

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard modality != nil || dimension != nil || dtype != nil else {
      throw ValidationError("Name one of --modality, --dimension and --dtype.")
    }
    guard (1...65_536).contains(dimension ?? 1) else { throw ValidationError("--dimension is 1 to 65536.") }
  }

  func run() throws {
    let catalog = try writer.open(global, "source set", name, on: [.source: [name]])
    let isNew = try SourceChanges(catalog, of: name).set(modality: modality, dimension: dimension, elementType: dtype)
    let source = try catalog.source(named: name)
    if global.json {
      Output.json([
        "source": .string(name), "modality": .string(source.modality.rawValue), "dimension": .count(source.dimension),
        "dtype": .string(source.elementType.rawValue), "new": .bool(isNew),
      ])
    } else {
      Output.line(
        "\(name) \(isNew ? "is" : "was before"): \(source.modality.rawValue), \(source.dimension) x \(source.elementType.rawValue)"
      )
    }
    Output.flush()
  }
}
