// Changes of sources that are registered: what a template comes to for each shard,
// and the parts of transfers that go with what they belong to. The catalog says
// what may change.

package import Base
package import Catalog

/// Changes one source.
package struct SourceChanges {
  private let catalog: LakeCatalog
  private let source: Source

  /// Prepares changes.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - name: The source.
  /// - Throws: ``TarnError`` `.notFound`.
  package init(_ catalog: LakeCatalog, of name: String) throws {
    self.catalog = catalog
    source = try catalog.source(named: name)
  }

  /// What became of a mirror.
  package struct AddedMirror: Sendable {
    /// Its place; nil when the source has it already.
    package let place: Int?
    /// Shards that a directory has no file of.
    package var missing: [String] = []
  }

  /// Adds a mirror.
  ///
  /// - Parameters:
  ///   - template: A URL with the ordinal left open, or a directory of this machine.
  ///   - isReconstructed: Whether it serves files that somebody made again.
  ///   - keptQuery: Query items of it that are known to be harmless.
  /// - Returns: Its place, and what it lacks.
  /// - Throws: ``TarnError`` `.usage`, `.conflict`.
  package func addMirror(_ template: String, isReconstructed: Bool, keptQuery: [String]) throws -> AddedMirror {
    try source.requireFeatures()
    try catalog.requireOwnFiles(source)
    if let directory = DirectoryMirror(named: template) {
      return try addDirectory(directory, isReconstructed: isReconstructed)
    }
    let kept = Set(keptQuery.map { $0.lowercased() })
    let places = try URLTemplate(parsing: template, keeping: source.keptQuery.union(kept))
    let count = try catalog.shards(of: source).count
    guard places.hasOrdinal || count == 1 else {
      throw TarnError(
        .usage, "the template '\(template.withoutSecrets.printable)' names one shard and \(source.name) has \(count)",
        hint: "put {ordinal} or {ordinal:04} where the number goes, or name a directory that is here")
    }
    return AddedMirror(
      place: try catalog.addMirror(
        places.text, urls: (0..<count).map(places.url), isReconstructed: isReconstructed, keptQuery: kept, to: source))
  }

  /// Adds a directory, whose files are told by their names.
  private func addDirectory(_ directory: DirectoryMirror, isReconstructed: Bool) throws -> AddedMirror {
    let shards = try catalog.shards(of: source)
    let files = try fileNames(of: shards, in: directory)
    let lacking = zip(shards, files).filter { !$0.isDropped && !directory.has($1) }
    guard lacking.count < shards.count(where: { !$0.isDropped }) else {
      throw TarnError(
        .usage, "\(directory.path) has no file of \(source.name), such as \(lacking.first?.1.printable ?? "")",
        hint: "its shards are told by the names of their files; `tarn source show \(source.name)` lists them")
    }
    let place = try catalog.addMirror(
      directory.template, urls: files.map(directory.url), isReconstructed: isReconstructed, to: source)
    return AddedMirror(place: place, missing: lacking.map(\.0.name))
  }

  /// What the files of shards are called in a directory, in order: as the shards are, or as on a mirror that
  /// calls each by a name of its own; what most are there by.
  private func fileNames(of shards: [Shard], in directory: DirectoryMirror) throws -> [String] {
    var chosen = shards.map(\.name)
    var count = chosen.count(where: directory.has)
    for mirror in try catalog.mirrors(of: source) where count < shards.count {
      let names = try catalog.addresses(of: source, on: mirror).compactMap { url in
        url.flatMap { try? URLTemplate.fileName(of: $0) }
      }
      guard names.count == shards.count, Set(names).count == names.count else { continue }
      let found = names.count(where: directory.has)
      if found > count { (chosen, count) = (names, found) }
    }
    return chosen
  }

  /// The place of a mirror that is named by it or by its template.
  private func place(of mirror: String) throws -> Int {
    if let place = Int(mirror) { return place }
    guard let found = try catalog.mirrors(of: source).first(where: { $0.template == mirror }) else {
      throw TarnError(
        .notFound, "\(source.name) has no mirror '\(mirror.withoutSecrets.printable)'",
        hint: "`tarn source mirror list \(source.name)` shows them; name one by its number or its template")
    }
    return found.priority
  }

  /// Removes a mirror, named by its place or its template, and gives its template.
  package func removeMirror(_ mirror: String) throws -> String {
    try catalog.requireOwnFiles(source)
    return try catalog.removeMirror(place(of: mirror), of: source)
  }

  /// Puts the mirrors in another order, each named by its place or its template.
  ///
  /// - Returns: Whether that changed anything.
  package func orderMirrors(_ mirrors: [String]) throws -> Bool {
    try catalog.requireOwnFiles(source)
    return try catalog.orderMirrors(mirrors.map(place), of: source)
  }

  /// Gives the source another name; parts of its transfers go, as they bear the old one.
  ///
  /// - Returns: Bytes of those parts.
  package func rename(to name: String) throws -> Int {
    let parts = try catalog.interruptedTransfers(of: source)
    try catalog.rename(source, to: name)
    return name == source.name ? 0 : try discard(parts)
  }

  /// Corrects what the rows of the source are.
  ///
  /// - Returns: Whether that changed anything.
  package func set(modality: Modality?, dimension: Int?, elementType: ElementType?) throws -> Bool {
    try source.requireFeatures()
    return try catalog.set(source, modality: modality, dimension: dimension, elementType: elementType)
  }

  /// Drops shards, and what transfers of them left.
  ///
  /// - Returns: What became of each.
  package func dropShards(_ ordinals: OrdinalSet) throws -> DroppedShards {
    try source.requireFeatures()
    try catalog.requireOwnFiles(source)
    let parts = try catalog.interruptedTransfers(of: source)
    let lengths = try catalog.shards(of: source, ordinals: ordinals).compactMap { shard in
      (try? shard.plannedRowCount(in: source, for: "the ids after it depend on it")).map { (shard.ordinal, $0) }
    }
    let dropped = try catalog.dropShards(
      ordinals, of: source, lengths: Dictionary(uniqueKeysWithValues: lengths))
    let names = Set(dropped.removed + dropped.tombstones)
    _ = try discard(parts.filter { names.contains($0.shard) })
    return dropped
  }

  /// Takes shards back that were dropped and kept their places, and gives their names.
  package func takeBackShards(_ ordinals: OrdinalSet) throws -> [String] {
    try catalog.requireOwnFiles(source)
    return try catalog.takeBackShards(ordinals, of: source)
  }

  /// Removes the source, and gives the bytes of the parts that went with it.
  package func remove() throws -> Int {
    let parts = try catalog.interruptedTransfers(of: source)
    try catalog.remove(source)
    return try discard(parts)
  }

  /// Removes part files, after the rows that they belonged to.
  private func discard(_ parts: [InterruptedTransfer]) throws -> Int {
    for part in parts { try catalog.discard(part) }
    return parts.reduce(0) { $0 + $1.byteCount }
  }
}
