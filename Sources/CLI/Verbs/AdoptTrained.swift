internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn adopt trained`: a trained index that FAISS wrote.
struct AdoptTrained: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trained", abstract: "Take in a trained index that FAISS wrote, empty or filled.",
    discussion: """
      Takes centroids, codec and ranges out of the file and keeps them in tarn's own form; `tarn build --trained NAME` works
      with it like with one that was trained here. Rows that the file holds are left: `tarn adopt version` takes those. What it
      was made from is unknown; the file's name and SHA-256 are kept, and named wherever inputs are.

      Taken are IVF indexes with flat, SQ4, SQ8 or fp16 codes, inner product and by_residual = False, whose coarse quantizer is
      IndexFlatIP or HNSW over it; what else there is is refused by its name. The file is opened by FAISS in a process of its
      own, tarn-adopt beside tarn's file, whose memory and time are bounded.

      EXAMPLES
        tarn adopt trained clip images.131072.QT_4bit.paired_kmeans.index
        tarn adopt trained clip knn.index --json

      \(ExitStatus.help)
      """)

  @Argument(help: "The name that it gets.")
  var name: String

  @Argument(help: ArgumentHelp("The file that faiss.write_index wrote.", valueName: "file.index"), completion: .file())
  var file: String

  @OptionGroup var adopt: AdoptOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() async throws {
    let catalog = try writer.open(global, "adopt trained", name, on: [.training: [name]], keeping: room)
    let progress = global.progress("adopt trained \(name)")
    let run = AdoptionRun(
      catalog, patience: adopt.patience.duration, cancellation: global.cancellation, report: progress.show)
    let (record, rowsLeft) = try await ThreadedWork("tarn-adopt") { [name, file] in
      try run.trained(name, from: file)
    }.value()
    progress.clear()
    if global.json {
      Output.json([
        "trained_index": .string(record.name), "sha256": .optional(record.digest?.hex),
        "codec": .string(record.codec), "nlist": .count(record.nlist), "dimension": .count(record.dimension),
        "rows_left": .count(rowsLeft),
      ])
    } else {
      Output.line(
        "\(record.name) is adopted: \(record.nlist.counted("list")) of \(record.dimension) dimensions, \(record.codec), "
          + "\(record.digest?.prefix(12) ?? "")…"
          + (rowsLeft == 0 ? "" : "; its \(rowsLeft.counted("row")) are left, `tarn adopt version` takes them"))
    }
    Output.flush()
  }
}

extension ProgressLine {
  /// Shows how far an adoption is.
  func show(_ progress: AdoptionProgress) {
    switch progress {
    case .reading(let file, let number, let count):
      update(done: Double(number), total: Double(count)) { "reading \(file), file \(number + 1)/\(count)" }
    case .unfiled(let file, let rows):
      note("\(file) counts \(rows.counted("row")) in none of its lists, where FAISS files no NaN; left out")
    case .writing(let output, let count, let done, let rows):
      update(done: Double(done), total: Double(rows)) { "writing output \(output + 1)/\(count), \(done)/\(rows) rows" }
    }
  }
}
