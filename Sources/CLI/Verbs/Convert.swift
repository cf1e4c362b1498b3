internal import ArgumentParser
internal import Base
internal import Lake

/// What elements can be converted to.
enum WrittenType: String, CaseIterable, ExpressibleByArgument {
  case float16, float32

  var elementType: ElementType { self == .float16 ? .float16 : .float32 }
}

/// `tarn convert`: a feature file in another form.
struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert", abstract: "Write the rows of a feature file in another form.",
    discussion: """
      SRC is a \(FeatureFormat.enumeration) file, DST a \(FeatureWriter.enumeration) file that there is not yet; their
      names say the forms. Rows are read and written once, front to back, in little memory; the same file gives the same
      bytes. Elements stay what they are where the form holds them; with --dtype they become the float32 that they count
      as, or that rounded to float16, to the nearest, ties to even; a number that is too large for it is refused. In an
      .npz, a .safetensors or a .parquet file the array has the name of --array, or 'features'. A file of no rows is
      written where its form says how many elements they would have.

      EXAMPLES
        tarn convert 0a1b.npz images.npy --array l14_img
        tarn convert texts.parquet texts.npy --array embedding --dtype float16
        tarn convert queries.npy queries.fbin --dtype float32
        tarn convert img_emb_0.npy images.npz --array l14_img

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The file to read.", valueName: "SRC"), completion: .file())
  var source: String

  @Argument(help: ArgumentHelp("The file to write.", valueName: "DST"), completion: .file())
  var target: String

  @Option(
    help: ArgumentHelp("Which array of an .npz, tensor of a .safetensors or column of a .parquet.", valueName: "name"))
  var array: String?

  @Option(help: ArgumentHelp("What elements become.", valueName: "type"))
  var dtype: WrittenType?

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func run() throws {
    let run = try ConvertRun(
      source, to: target, array: array, as: dtype?.elementType, cancellation: global.cancellation)
    let progress = global.progress("convert")
    let summary = try run.run { done, all in
      progress.update(done: Double(done), total: Double(all)) { "\(done) of \(all.counted("row"))" }
    }
    progress.clear()
    if global.json {
      Output.json([
        "file": .string(target), "rows": .count(summary.rowCount), "dimension": .count(summary.dimension),
        "dtype": .string(summary.elementType.rawValue), "bytes": .count(summary.byteCount),
        "sha256": .string(summary.digest.hex),
      ])
    } else {
      Output.line(
        "\(target): \(summary.rowCount.counted("row")) of \(summary.dimension) \(summary.elementType.rawValue), "
          + "\(ByteSize.text(summary.byteCount)), sha256 \(summary.digest.prefix(16))…")
    }
    Output.flush()
  }
}
