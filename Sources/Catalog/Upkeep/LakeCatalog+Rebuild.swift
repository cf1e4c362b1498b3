// `rebuild-catalog`: a catalog made again from the files of a lake that lost its
// own. It is written beside, through the schema and its guards, and takes the
// name only when it is whole; a catalog that is good is never replaced.

package import Base
internal import Foundation
internal import GRDB

/// What a catalog made again holds.
package struct RebuildSummary: Sendable {
  package var sources = 0
  package var shards = 0
  /// Shards whose bytes are in the lake.
  package var present = 0
  package var revisions = 0
  package var trainedIndexes = 0
  package var versions: [VersionName] = []
  /// Those of them that a file beside their lock file says were revoked.
  package var revoked: [VersionName] = []
  /// Those of them that a file beside their lock file says are pinned.
  package var pinned: [VersionName] = []
  /// Those that were adopted in this lake and are not revoked: whose rows their ids count, nobody knows any more.
  package var adopted: [VersionName] = []
  package var outputs = 0
  /// Segments that an output bears out.
  package var segments = 0
  /// Whole files below the artifacts directory that no version refers to and no output
  /// bears out: segments, nearest rows, what revoked and unfinished work left.
  package var unreferenced = 0
  package var unreferencedByteCount = 0
  /// Rows that a version was made without and that a later one of its name has again: they are excluded no more.
  package var readmitted = 0
  /// What the files did not say, or said of damage; a line for each.
  package var remarks: [String] = []
  /// Where the damaged catalog went; nil when there was none.
  package var setAside: String?
}

/// What the head of a segment's file says.
package struct SegmentClaim: Sendable, Hashable {
  package let trained: ContentDigest
  package let shard: ContentDigest
  /// SHA-256 of the name of the shard's array; nil where it names none.
  package let arrayMark: ContentDigest?
  package let formatVersion: Int
  /// Rows of the shard, holes included.
  package let rowCount: Int
  package let badRowCount: Int

  package init(
    trained: ContentDigest, shard: ContentDigest, arrayMark: ContentDigest?, formatVersion: Int, rowCount: Int,
    badRowCount: Int
  ) {
    self.trained = trained
    self.shard = shard
    self.arrayMark = arrayMark
    self.formatVersion = formatVersion
    self.rowCount = rowCount
    self.badRowCount = badRowCount
  }
}

/// What modules that read vectors do for a catalog that is made again.
package struct RebuildTools {
  /// The rows of a feature file, or of one of its arrays; throws for one that is malformed, or
  /// of another dimension or element type.
  package let rowCount: (_ path: String, _ array: String?, _ dimension: Int, _ elementType: ElementType) throws -> Int
  /// Writes a trained index of a digest, durably, at a path, out of one of the
  /// output files that were made with it; gives its bytes, or nil where none has it.
  package let takeTrainedIndex: (_ digest: ContentDigest, _ outputs: [String], _ path: String) throws -> Int?
  /// Bytes of the file of a trained index; nil for a codec that is not known.
  package let trainedByteCount:
    (
      _ codec: String, _ dimension: Int, _ nlist: Int, _ hasRouter: Bool, _ refine: String?
    ) throws -> Int?
  /// What a segment says of itself; nil for a file that is none.
  package let segment: (_ path: String) -> SegmentClaim?
  /// Which of some segments, in the order of their ids, hold what an output of theirs does, and
  /// the codes that refine it, where there are such; but for the rows that it was made without.
  package let provedSegments:
    (
      _ segments: [(path: String, firstID: Int64, excluded: [Int])], _ output: String,
      _ refine: (path: String, firstID: Int64)?
    ) throws -> [Bool]

  package init(
    rowCount: @escaping (String, String?, Int, ElementType) throws -> Int,
    takeTrainedIndex: @escaping (ContentDigest, [String], String) throws -> Int?,
    trainedByteCount: @escaping (String, Int, Int, Bool, String?) throws -> Int?,
    segment: @escaping (String) -> SegmentClaim?,
    provedSegments:
      @escaping ([(path: String, firstID: Int64, excluded: [Int])], String, (path: String, firstID: Int64)?) throws ->
      [Bool]
  ) {
    self.segment = segment
    self.provedSegments = provedSegments
    self.rowCount = rowCount
    self.takeTrainedIndex = takeTrainedIndex
    self.trainedByteCount = trainedByteCount
  }
}

extension LakeCatalog {
  /// Makes the catalog of a lake again from its files.
  ///
  /// - Parameters:
  ///   - root: The lake's directory.
  ///   - shards: Directory of fetched shards, relative to `root` or absolute.
  ///   - artifacts: Directory of results, relative to `root` or absolute.
  ///   - wait: How long to wait for others that have the lake.
  ///   - tools: Reads feature files, makes trained indexes again.
  ///   - report: Told of each file that is read.
  /// - Returns: What the new catalog holds.
  /// - Throws: ``TarnError`` `.conflict` when there is a catalog that is
  ///   good; `.noLake` when no file tells of a version.
  package static func rebuild(
    root: String, shards: String, artifacts: String, wait: Duration = .zero, tools: RebuildTools,
    report: @escaping (String) throws -> Void = { _ in }
  ) throws -> RebuildSummary {
    let layout = LakeLayout(root: root, shards: shards, artifacts: artifacts)
    guard FileManager.default.fileExists(atPath: layout.versions) else {
      throw TarnError(
        .noLake, "\(layout.root) has no directory 'versions' to make a catalog from", hint: "name the lake with --lake")
    }
    let session = try WriterSession(layout, command: "rebuild-catalog", isWhole: true, until: .now + wait)
    if let refusal = try session.transaction({ try session.take([]) }) { throw refusal }
    defer { session.end {} }
    guard try !isGood(layout.catalog) else {
      let stranger = try open(root: root, writing: nil, orOlder: true).strangers().first
      throw TarnError(
        .conflict,
        "\(layout.catalog) is whole and stays as it is" + (stranger.map { ", though \($0.message)" } ?? ""),
        hint: stranger?.hint ?? "`tarn doctor` and `tarn verify` look closer")
    }
    // The new one is about as large as the damaged one, which stays.
    let byteCount = max(CatalogBallast.byteCount, Disk.size(of: layout.catalog) ?? 0)
    if case .refused(let error) = try DiskReserve().verdict(
      on: "the new catalog", taking: byteCount, of: FileSystem(of: layout.root))
    {
      throw error
    }
    let uuid = try DirectoryOwner(layout).uuid()
    let (found, lost) = try VersionEvidence.all(in: layout, rowCount: tools.rowCount)
    func refuse(_ reasons: [String]) -> TarnError {
      TarnError(
        .noLake,
        "no version in \(layout.versions) says what it was made from" + (reasons.first.map { ": \($0)" } ?? ""),
        hint: "restore a backup of the catalog")
    }
    guard !found.isEmpty else { throw refuse(lost.map(\.message)) }
    let building = layout.catalog + ".rebuilt"
    for suffix in ["", "-wal", "-shm", "-journal"] { try Disk.remove(building + suffix) }
    try Disk.makeFile(building)
    var summary: RebuildSummary
    do {
      let queue = try connect(to: building, readOnly: false, journal: .default)
      try migrate(queue)
      summary = try wrapped(at: building) {
        try queue.write { database in
          try LakeRow.insert(uuid: uuid, shards: shards, artifacts: artifacts, database)
          var writer = RebuildWriter(database: database, layout: layout, tools: tools, report: report)
          let summary = try writer.write(found)
          guard !summary.versions.isEmpty else { throw refuse(summary.remarks) }
          try database.checkForeignKeys()
          return summary
        }
      }
      try queue.close()
    }
    summary.remarks += lost.map(\.message)
    try Disk.syncFile(building)
    summary.setAside = try setAside(layout.catalog)
    try Disk.moveIntoPlace(building, layout.catalog)
    // Turns the write-ahead log on, under the name that it is for.
    try session.transaction { try connect(to: layout.catalog, readOnly: false).close() }
    return summary
  }

  /// Whether a catalog can be used: a lake's, whole, its references right.
  private static func isGood(_ path: String) throws -> Bool {
    guard let size = Disk.size(of: path), size > 0 else { return false }
    do {
      let queue = try connect(to: path, readOnly: true)
      return try queue.read { database in
        guard try Int32.fetchOne(database, sql: "PRAGMA application_id") == applicationID else { return false }
        guard try String.fetchAll(database, sql: "PRAGMA quick_check(1)") == ["ok"] else { return false }
        return try Row.fetchOne(database, sql: "SELECT uuid FROM lake") != nil
      }
    } catch let error as DatabaseError
      where [.SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_ERROR].contains(error.resultCode)
    {
      return false
    } catch let error as TarnError where error.code == .integrity || error.code == .database {
      return false
    }
  }

  /// Gives a damaged catalog and its log other names; nothing is deleted.
  private static func setAside(_ catalog: String) throws -> String? {
    let present = ["", "-wal", "-shm"].filter { Disk.size(of: catalog + $0) != nil }
    guard !present.isEmpty else { return nil }
    var number = 1
    while ["", "-wal", "-shm"].contains(where: { Disk.size(of: "\(catalog).damaged-\(number)\($0)") != nil }) {
      number += 1
    }
    let aside = "\(catalog).damaged-\(number)"
    for suffix in present { try Disk.moveIntoPlace(catalog + suffix, aside + suffix) }
    return aside
  }
}
