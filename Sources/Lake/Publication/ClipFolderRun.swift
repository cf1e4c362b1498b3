// `export --format clip-retrieval`: a folder that clip-retrieval's own server opens.
//
// That server takes the id of a row for its place among all rows of `metadata/*.parquet`, sorted by
// name. So each shard of the version is a file of as many rows as its ids, holes and rows left
// out too, whose values are null, and so are the ids between of shards that were dropped.

internal import Base
package import Catalog
internal import Companions
internal import Foundation
internal import Glibc
internal import Indexer

/// Writes a version as clip-retrieval has it.
package struct ClipFolderRun {
  private let catalog: LakeCatalog
  private let name: VersionName
  private let target: String
  private let asked: [String]?
  private let cancellation: Cancellation

  /// The columns that clip-retrieval's pages show, each with the names that it has in companions.
  private static let usual = [("url", ["url"]), ("caption", ["caption", "text"])]

  /// A column that is written.
  private struct Column {
    /// What it is called in the folder.
    let label: String
    /// What it is called in companions.
    let name: String

    /// How `--columns` says it, so that it keeps its label.
    var option: String { ColumnList.text(of: label == name ? name : "\(label)=\(name)") }
  }

  /// What was written.
  package struct Summary: Sendable {
    /// The folder, absolute.
    package let folder: String
    /// The index's file within it.
    package let index: String
    package let digest: ContentDigest
    /// Rows that can be found.
    package let rowCount: Int
    /// Rows of metadata: one for each id.
    package let idCount: Int
    package let fileCount: Int
    package let columns: [String]
    /// What was not here, so that values are null, and what a folder cannot hold; a line each.
    package let notes: [String]
  }

  /// How far it is.
  package enum Progress: Sendable {
    case list(Int, of: Int)
    case shard(Int, of: Int)
  }

  /// Looks at where the folder is to be.
  ///
  /// - Parameters:
  ///   - catalog: A lake; reading is enough.
  ///   - name: A version.
  ///   - folder: The folder to make, as the user wrote it.
  ///   - columns: Of companions, `LABEL=NAME` for one that is called otherwise in the folder; nil for url and caption,
  ///     those of them that there are, a caption from `text` where none has that name.
  ///   - cancellation: Asked between pieces.
  /// - Throws: ``TarnError`` `.usage` and `.conflict` for a place that cannot be meant, or where something is.
  package init(
    _ catalog: LakeCatalog, _ name: VersionName, into folder: String, columns: [String]?, cancellation: Cancellation
  ) throws {
    var folder = folder
    while folder.count > 1, folder.hasSuffix("/") { folder.removeLast() }
    target = LakeLayout.absolute(folder)
    var info = stat()
    guard lstat(target, &info) != 0 else {
      throw TarnError(.conflict, "\(target) exists, and nothing is replaced", hint: "name a folder that is new")
    }
    try OutputPlace.check(folder, besides: catalog.layout)
    (self.catalog, self.name, self.cancellation) = (catalog, name, cancellation)
    asked = columns
  }

  /// Writes the folder under a name of its own, and gives it its name when all of it is durable.
  ///
  /// - Parameter report: Told how far it is.
  /// - Returns: What it is.
  /// - Throws: ``TarnError`` `.conflict` for a version that is not sealed, `.usage` for columns that there are not,
  ///   `.inputsMissing` and `.integrity` for its files, `.diskFull`, `.interrupted`; nothing is left then.
  package func run(_ report: (Progress) -> Void) throws -> Summary {
    cancellation.listen()
    let version = try catalog.version(name)
    try version.requireSearchable()
    let (chosen, remarks) = try columns(of: version)
    let columns = try RowColumns(catalog, version, names: chosen.map(\.name))
    let plan = try columns.plan { try cancellation.check() }
    let store = ArtifactStore(catalog)
    let outputs = try catalog.outputs(of: version).map { output in
      try cancellation.check()
      let path = try store.path(ofOutput: output.digest, of: version)
      // What goes out of the lake is what was sealed.
      guard try Disk.digest(of: path) == output.digest else {
        throw TarnError(.integrity, "\(path) is damaged", hint: "run `tarn verify --repair`")
      }
      return path
    }
    let indexByteCount = outputs.reduce(0) { $0 + (Disk.size(of: $1) ?? 0) }
    let stretches = try stretches(of: version)
    let idCount = stretches.reduce(0) { $0 + $1.rowCount }
    try catalog.requireRoom(
      for: "the folder \(target)",
      [RoomNeed(at: target.parentPath, byteCount: indexByteCount + columns.byteCount(of: plan.shards) + idCount)])
    let place = WorkingPlace(for: target)
    let working = place.path
    var isDone = false
    defer { if !isDone { try? FileManager.default.removeItem(atPath: working) } }
    try Disk.makeDirectory(working + "/metadata")
    place.hold()
    let index = try catalog.source(id: version.sourceID).modality.rawValue == "text" ? "text.index" : "image.index"
    let written = try writeIndex(outputs, as: "\(working)/\(index)", report)
    try writeMetadata(stretches, plan.shards, columns, as: chosen.map(\.label), into: working + "/metadata", report)
    let paths = JSONValue.object(["\(name)": .string(target)]).indentedText + "\n"
    try Disk.writeAtomically(Array(paths.utf8), to: working + "/indices_paths.json")
    for directory in [working + "/metadata", working] { try Disk.syncDirectory(directory) }
    try cancellation.check()
    var info = stat()
    guard lstat(target, &info) != 0 else {
      throw TarnError(.conflict, "\(target) was made by somebody meanwhile", hint: "name a folder that is new")
    }
    try Disk.moveIntoPlace(working, target)
    isDone = true
    return Summary(
      folder: target, index: index, digest: written.digest, rowCount: written.rowCount, idCount: idCount,
      fileCount: stretches.count, columns: chosen.map(\.label),
      notes: try remarks + unrefined(version) + plan.notes)
  }

  /// What is lost of a version whose codes are refined.
  private func unrefined(_ version: IndexVersion) throws -> [String] {
    let trained = try catalog.trainedIndex(id: version.trainedIndexID)
    // What was adopted has none of the codes that its trained index tells of.
    guard let refine = trained.refine, try catalog.outputs(of: version).contains(where: { $0.refine != nil }) else {
      return []
    }
    return [
      "\(version.name) is refined by \(refine), which clip-retrieval does not read: the folder has the \(trained.codec) codes alone, and finds less"
    ]
  }

  /// The columns that are written, and what is said of them.
  private func columns(of version: IndexVersion) throws -> (columns: [Column], remarks: [String]) {
    if let asked, !asked.contains(where: { $0.contains("=") }) {
      return (asked.map { Column(label: $0, name: $0) }, [])
    }
    let available = try RowColumns(catalog, version, names: []).availableNames { try cancellation.check() }
    if let asked {
      let columns = asked.map { text in
        // A column may have the sign in its own name.
        guard !available.contains(text), let sign = text.firstIndex(of: "="), sign > text.startIndex else {
          return Column(label: text, name: text)
        }
        return Column(label: String(text[..<sign]), name: String(text[text.index(after: sign)...]))
      }
      var labels: Set<String> = []
      if let again = columns.first(where: { !labels.insert($0.label).inserted }) {
        throw TarnError(
          .usage, "two columns would be called \(again.label.printable)",
          hint: "name each once: --columns url,caption=text")
      }
      return (columns, [])
    }
    let usual = Self.usual.compactMap { label, names in
      names.first(where: available.contains).map { Column(label: label, name: $0) }
    }
    let there = available.prefix(20).map { ColumnList.text(of: $0).printable }.joined(separator: ", ")
    guard !usual.isEmpty else {
      throw TarnError(
        .usage, "no companion of \(version.name) has a url or a caption here",
        hint: available.isEmpty
          ? "`tarn sync` fetches companions"
          : "name columns with --columns, as --columns caption=NAME; there are \(there)")
    }
    var remarks = usual.filter { $0.label != $0.name }.map { "\($0.label) is the column \($0.name) of companions" }
    let lacking = Self.usual.map(\.0).filter { label in !usual.contains { $0.label == label } }
    if !lacking.isEmpty {
      remarks.append(
        "no companion of \(version.name) has a \(lacking.joined(separator: " or a ")) here; another column is named with "
          + "--columns \(usual[0].option),\(lacking[0])=NAME; there are \(there)")
    }
    return (usual, remarks)
  }

  private func writeIndex(
    _ outputs: [String], as path: String, _ report: (Progress) -> Void
  ) throws -> OutputShardSummary {
    guard let first = outputs.first else { throw TarnError(.inputsMissing, "\(name) has no output files") }
    let head = try OutputShardFile(path: first)
    let shards = try [head] + outputs.dropFirst().map { try OutputShardFile(path: $0, sharing: head.trained) }
    let written = try OutputShardFile.join(shards, to: path, temporaryPath: path + ".tmp") { list in
      try cancellation.check()
      report(.list(list, of: head.trained.nlist))
    }
    try OutputShardFile.verify(
      path, trained: head.trained, summary: written, idsIn: [0..<Int64.max])
    return written
  }

  /// Ids that are written as one file.
  private struct Stretch {
    let firstID: Int64
    let rowCount: Int
  }

  /// All ids from 0 on: those of each shard, and those between of shards that a source has no more.
  private func stretches(of version: IndexVersion) throws -> [Stretch] {
    var stretches: [Stretch] = []
    var next: Int64 = 0
    for ids in try CountedRows(catalog, version).stretches() {
      let first = ids.lowerBound
      guard first >= next else {
        throw TarnError(.integrity, "two inputs of \(name) have the id \(first)", hint: "run `tarn verify`")
      }
      if first > next { stretches.append(Stretch(firstID: next, rowCount: Int(first - next))) }
      stretches.append(Stretch(firstID: first, rowCount: ids.count))
      next = ids.upperBound
    }
    // A folder without any file is none that opens.
    return stretches.isEmpty ? [Stretch(firstID: 0, rowCount: 0)] : stretches
  }

  /// Writes a file for each stretch, named in their order.
  private func writeMetadata(
    _ stretches: [Stretch], _ shards: [ScannedShard], _ columns: RowColumns, as labels: [String],
    into directory: String, _ report: (Progress) -> Void
  ) throws {
    let known = Dictionary(uniqueKeysWithValues: shards.map { ($0.firstID, $0) })
    let width = String(stretches.count - 1).count
    for (number, stretch) in stretches.enumerated() {
      report(.shard(number, of: stretches.count))
      try columns.writeTable(
        of: known[stretch.firstID], rowCount: stretch.rowCount, as: labels,
        to: "\(directory)/metadata_\(number.padded(to: width)).parquet", checkpoint: { try cancellation.check() })
    }
  }
}

extension RowColumns {
  /// Bytes that the values of shards come to, about: those of packs unpacked, and of files a few times what they have.
  fileprivate func byteCount(of shards: [ScannedShard]) throws -> Int {
    try shards.flatMap(\.parts).map { part in
      switch try opened(part.companion) {
      case .pack(let pack, _): pack.unpackedByteCount
      case .file(let file): 4 * (Disk.size(of: file.path) ?? 0)
      case .none: 0
      }
    }.saturatedSum
  }

  /// Writes the columns of a shard's rows as a table of texts.
  fileprivate func writeTable(
    of shard: ScannedShard?, rowCount: Int, as labels: [String], to path: String, checkpoint: () throws -> Void
  ) throws {
    var writer = try TableWriter(creating: path, columns: labels)
    var scans = try RowScans(shard, of: self)
    for row in 0..<rowCount {
      if row.isMultiple(of: 4096) { try checkpoint() }
      try scans.next()
      try writer.add(scans.values)
    }
    try writer.finish()
  }
}
