// What a lake's files say of its versions when there is no catalog: lock files,
// the documents beside them, and the files whose digests they name. Nothing
// here is believed that a digest does not bear out.

internal import Base
internal import Foundation

/// A sealed version as its files tell of it.
struct VersionEvidence {
  /// What a lock file says; its bytes' digest is the version's.
  struct LockFile: Decodable {
    struct Input: Decodable, Equatable {
      let shard: String
      let ordinal: Int
      let sha256: ContentDigest?
      let bytes: Int?
      let firstId: Int64
      let rows: Int
      let output: Int
      var excluded: [Int]?
    }
    struct Output: Decodable {
      let output: Int
      let sha256: ContentDigest
      let bytes: Int
      let rows: Int
      let firstId: Int64
      let endId: Int64
      let listsSha256: ContentDigest
      let refine: VersionExport.Source.Bytes?
    }
    struct Trained: Decodable {
      let sha256: ContentDigest
      let specSha256: ContentDigest
      let nlist: Int
      let codec: String
      let method: String
      let seed: Int64
      let iterations: Int
      let pairs: Int
      /// Nil where the centroids rank the lists.
      let router: String?
      let refine: String?
    }

    let format: String
    let version: String
    let source: String
    /// The array of the source's files; nil where they have one.
    let array: String?
    let shardsPerOutput: Int
    let missing: String
    let badRows: String
    let trained: Trained
    let inputs: [Input]
    let outputs: [Output]

    /// Reads a lock file; nil for anything else.
    init?(_ bytes: Data) {
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      guard let lock = try? decoder.decode(LockFile.self, from: bytes), lock.format == LakeCatalog.lockFormat else {
        return nil
      }
      self = lock
    }

    /// Reads the lock file of a path; nil without one.
    init?(at path: String) {
      guard let bytes = try? Disk.contents(of: path) else { return nil }
      self.init(Data(bytes))
    }
  }

  /// What a trained index was made from, out of its specification.
  struct TrainingSpec: Decodable {
    struct Shard: Decodable {
      let rows: Int
      let sha256: ContentDigest
    }
    struct Sample: Decodable { let pairs: Int }
    let method: String
    let codec: String
    let nlist: Int
    let dimension: Int
    let iterations: Int
    let seed: Int64
    let sample: Sample
    let images: [Shard]
    struct Router: Decodable {
      let method: String
      let captions: Int
      let epochs: Int
    }
    let captions: [Shard]?
    struct Arrays: Decodable, Equatable {
      let images: String?
      let captions: String?
    }
    /// Arrays of the shards; nil where they have one each.
    let arrays: Arrays?
    /// Places of the shards in their sources; nil for the first ones.
    let shards: [Int]?
    /// Nil where the centroids rank the lists.
    let router: Router?
    struct Refine: Decodable { let codec: String }
    let refine: Refine?
  }

  let name: VersionName
  /// The name that lock file and document say: the publisher's, of a version that was pulled
  /// under another.
  let sealedName: VersionName
  let lock: LockFile
  /// The lock file as it was sealed.
  let lockText: String
  /// The digest of the lock file: the version's.
  let digest: ContentDigest
  let document: VersionExport
  let training: TrainingSpec
  /// When the lock file was written, in the catalog's form.
  let sealedAt: String
  /// Whether it was made in another lake: what it has is no word of this one's about rows that are excluded.
  private(set) var isOfElsewhere = false
  /// That it was revoked; nil where no file says so.
  private(set) var revocation: VersionMark?
  /// That it is pinned; nil where no file says so.
  private(set) var pin: VersionMark?

  /// Reads the files of a version.
  ///
  /// - Parameters:
  ///   - name: The version.
  ///   - layout: The lake.
  /// - Throws: ``TarnError`` saying why it cannot be told what it was.
  init(_ name: VersionName, in layout: LakeLayout) throws {
    let path = layout.lockFilePath(name)
    guard let bytes = try? Disk.contents(of: path) else {
      throw TarnError(.inputsMissing, "\(name): it has no lock file")
    }
    let written = try? FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
    // Its files bear the name of the directory, so that it was not moved there by hand.
    try self.init(name, lock: bytes, sealedAt: Timestamp.text(written ?? Date()), mayBePublishedAsOther: true) {
      guard Disk.size(of: layout.documentPath(name)) != nil else {
        throw TarnError(.inputsMissing, "\(name): it has no document beside its lock file")
      }
      return try VersionExport(reading: layout.documentPath(name))
    }
    revocation = VersionMark(.revoked, of: name, in: layout)
    pin = VersionMark(.pinned, of: name, in: layout)
    isOfElsewhere = sealedName != name || document.isAdopted || Disk.size(of: layout.originPath(name)) != nil
  }

  /// Holds the lock file and the document of a version against each other.
  ///
  /// - Parameters:
  ///   - name: The version.
  ///   - bytes: The lock file.
  ///   - sealedAt: When it was sealed, in the catalog's form.
  ///   - mayBePublishedAsOther: Whether lock file and document may say another name: that
  ///     of a version that was pulled under this one.
  ///   - read: Gives the document.
  /// - Throws: ``TarnError`` saying why it cannot be told what it was.
  init(
    _ name: VersionName, lock bytes: [UInt8], sealedAt: String, mayBePublishedAsOther: Bool = false,
    reading read: () throws -> VersionExport
  ) throws {
    self.name = name
    self.sealedAt = sealedAt
    lockText = String(decoding: bytes, as: UTF8.self)
    digest = .of(lockText)
    guard let lock = LockFile(Data(bytes)), let sealedName = try? VersionName(parsing: lock.version),
      sealedName == name || mayBePublishedAsOther && sealedName.name != name.name
    else { throw TarnError(.integrity, "\(name): its lock file is damaged") }
    self.sealedName = sealedName
    self.lock = lock
    do {
      document = try read()
    } catch let error as TarnError {
      throw error.about("\(name)")
    }
    guard document.versionSha256 == digest else {
      throw TarnError(.integrity, "\(name): its lock file and its document disagree")
    }
    let isBorneOut =
      document.version == lock.version && document.source == lock.source
      && document.trained.sha256 == lock.trained.sha256
      && ContentDigest.of(document.trained.spec) == lock.trained.specSha256
      && document.inputs.map(\.sha256) == lock.inputs.map(\.sha256)
      && document.inputs.map(\.shard) == lock.inputs.map(\.shard)
      && document.outputs.map(\.sha256) == lock.outputs.map(\.sha256)
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    guard isBorneOut, let spec = try? decoder.decode(TrainingSpec.self, from: Data(document.trained.spec.utf8)) else {
      throw TarnError(.integrity, "\(name): its document says what its lock file does not bear out")
    }
    training = spec
    try check()
  }

  /// Rows of the shards that the version and its training used, by digest.
  var rowCounts: [ContentDigest: Int] {
    var counts: [ContentDigest: Int] = [:]
    for shard in training.images + (training.captions ?? []) { counts[shard.sha256] = shard.rows }
    for input in lock.inputs { if let digest = input.sha256 { counts[digest] = input.rows } }
    return counts
  }

  /// Every version that a lake's directories name, in the order of ``inOrder(_:)``.
  ///
  /// - Parameters:
  ///   - layout: The lake.
  ///   - rowCount: Gives the rows of a feature file, see ``RebuildTools``.
  /// - Returns: The versions; those whose files do not say enough, with why.
  /// - Throws: ``TarnError`` `.io` when the directory of versions cannot be read.
  static func all(
    in layout: LakeLayout, rowCount: (String, String?, Int, ElementType) throws -> Int
  ) throws -> (found: [VersionEvidence], lost: [TarnError]) {
    var (found, lost): ([VersionEvidence], [TarnError]) = ([], [])
    for version in try VersionDirectories.names(in: layout) {
      do {
        let evidence = try VersionEvidence(version, in: layout)
        try evidence.check(shardsIn: layout, rowCount: rowCount)
        found.append(evidence)
      } catch let error as TarnError {
        lost.append(error)
      } catch {
        lost.append(TarnError(.io, "\(version): \(error)"))
      }
    }
    return (inOrder(found), lost)
  }

  /// Versions in the order in which they were made, as far as files tell it.
  ///
  /// The numbers of a name were given one after another. A lock file's time is that of its sealing, or a later one
  /// where it was written again or restored without times; so a version is taken to be no newer than those of its name
  /// above it.
  ///
  /// - Parameter versions: The versions.
  /// - Returns: The same, the first at the front; no number of a name before a lower one.
  private static func inOrder(_ versions: [VersionEvidence]) -> [VersionEvidence] {
    var bounds: [VersionName: String] = [:]
    for ofName in Dictionary(grouping: versions, by: \.name.name).values {
      var bound: String?
      for version in ofName.sorted(by: { $0.name.number > $1.name.number }) {
        let time = bound.map { min($0, version.sealedAt) } ?? version.sealedAt
        bound = time
        bounds[version.name] = time
      }
    }
    return versions.sorted { first, second in
      let (one, other) = (bounds[first.name] ?? first.sealedAt, bounds[second.name] ?? second.sealedAt)
      return (one, first.name.name, first.name.number) < (other, second.name.name, second.name.number)
    }
  }
}

/// A file that should be there, looked at.
enum FileEvidence {
  case whole
  case missing
  case damaged

  /// Looks at a file.
  init(_ path: String, byteCount: Int?, digest: ContentDigest) {
    guard let size = Disk.size(of: path) else {
      self = .missing
      return
    }
    let isWhole = (byteCount == nil || byteCount == size) && (try? Disk.digest(of: path)) == digest
    self = isWhole ? .whole : .damaged
  }
}
