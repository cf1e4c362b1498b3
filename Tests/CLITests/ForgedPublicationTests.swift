// Publications that a stranger made up, whose documents, lock files and digests hold
// together: what they give is read as what it is to be before anything is recorded.

import Base
import Catalog
import Foundation
import Lake
import Testing
import TestSupport

/// A publication whose documents can be changed so that they still hold together.
struct ForgedPlace {
  let path: String
  private let directory: String

  init(_ lake: LakeFixture, _ name: String = "place") throws {
    path = "\(lake.directory.path)/\(name)"
    directory = path + "/v@1"
    try? FileManager.default.removeItem(atPath: path)
    try FileManager.default.copyItem(atPath: LakeFixture.published(), toPath: path)
  }

  func bytes(_ file: String) throws -> [UInt8] { try Disk.contents(of: "\(directory)/\(file)") }

  /// Changes the document, and the lock file where it says the same.
  func forge(
    _ change: (inout [String: JSONValue]) throws -> Void,
    documentAlone: (inout [String: JSONValue]) throws -> Void = { _ in }
  ) throws {
    func members(_ file: String) throws -> [String: JSONValue] {
      guard case .object(let members) = try JSONValue(reading: bytes(file)) else {
        throw CocoaError(.fileReadCorruptFile)
      }
      return members
    }
    var lock = try members("v.lock.json")
    try change(&lock)
    let text = JSONValue.object(lock).text + "\n"
    try write(Array(text.utf8), as: "v.lock.json")
    var document = try members("v.export.json")
    try change(&document)
    try documentAlone(&document)
    document["version_sha256"] = .string(ContentDigest.of(text).hex)
    try write(Array(JSONValue.object(document).text.utf8), as: "v.export.json")
  }

  func write(_ bytes: [UInt8], as file: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/\(file)"))
  }

  /// Gives other bytes as the first output.
  func giveOutput(_ bytes: [UInt8]) throws {
    try write(bytes, as: "v.000.faiss")
    try forge {
      $0.change("outputs", at: 0) {
        $0["bytes"] = .count(bytes.count)
        $0["sha256"] = .string(ContentDigest.of(bytes).hex)
      }
    }
  }

  /// An output whose greatest row has a number that no shard has: ids still ascend.
  static func withStrangeRow(_ output: [UInt8]) throws -> [UInt8] {
    let last = withUnsafeBytes(of: Int64(19).littleEndian) { Array($0) }
    let place = try #require(output.indices.last { output[$0...].starts(with: last) })
    return output[..<place] + withUnsafeBytes(of: (Int64(1) << 62).littleEndian) { Array($0) } + output[(place + 8)...]
  }

  /// Gives other bytes as the trained index.
  func giveTrained(_ bytes: [UInt8]) throws {
    try write(bytes, as: "trained.faiss")
    var before = ""
    let after = ContentDigest.of(bytes).hex
    try forge(
      {
        guard case .object(var trained)? = $0["trained"] else { return }
        before = trained["sha256"]?.string ?? ""
        trained["sha256"] = .string(after)
        $0["trained"] = .object(trained)
      },
      documentAlone: { $0["spec"] = $0["spec"]?.string.map { .string($0.replacing(before, with: after)) } })
  }
}

extension [String: JSONValue] {
  /// Changes an object in an array that is a member.
  fileprivate mutating func change(_ name: String, at place: Int, _ change: (inout [String: JSONValue]) -> Void) {
    guard case .array(var values)? = self[name], case .object(var members) = values[place] else { return }
    change(&members)
    values[place] = .object(members)
    self[name] = .array(values)
  }
}

@Suite struct ForgedPublicationTests {
  /// A pull is refused as wrong, and leaves no row that says what the stranger says.
  private func expectRefused(
    _ name: String, _ place: ForgedPlace, by lake: LakeFixture, location: SourceLocation = #_sourceLocation
  ) throws {
    let result = try lake.run(["pull", place.path, "v@1", "--patience", "0"])
    #expect(result.ending == .exit(20), "\(name): \(result.ending) \(result.errorText)", sourceLocation: location)
    #expect(result.errorLines.count == 1, "\(name): \(result.errorText)", sourceLocation: location)
    for table in ["source", "trained_index", "index_version", "shard_revision"] {
      #expect(try lake.texts("SELECT 'x' FROM \(table)").isEmpty, "\(name): \(table)", sourceLocation: location)
    }
  }

  /// The version as it was published, once strangers were refused.
  private func expectHonest(_ lake: LakeFixture) throws {
    try lake.succeed(["pull", LakeFixture.published(), "v@1"])
    try lake.succeed(["verify", "--quiet"])
    try lake.succeed(["doctor", "--quiet"])
  }

  @Test func whatIsForgedAndTrueIsTaken() throws {
    let lake = try LakeFixture.make(.empty)
    let place = try ForgedPlace(lake)
    try place.forge { _ in }
    try lake.succeed(["pull", place.path])
  }

  @Test func anOutputThatIsNoneIsRefused() throws {
    let lake = try LakeFixture.make(.empty)
    let whole = try ForgedPlace(lake).bytes("v.000.faiss")
    let strange = try ForgedPlace.withStrangeRow(whole)
    let lists = FaissLayout.nlist
    let forgeries: [(String, (ForgedPlace) throws -> Void)] = [
      ("other bytes", { try $0.giveOutput(Array("hello world".utf8)) }),
      ("a part", { try $0.giveOutput(Array(whole.dropLast(100))) }),
      ("a row of no shard", { try $0.giveOutput(strange) }),
      ("2^55 lists", { try $0.giveOutput(whole[..<lists] + [0, 0, 0, 0, 0, 0, 128, 0] + whole[(lists + 8)...]) }),
      ("another output", { try $0.giveOutput($0.bytes("v.001.faiss")) }),
      ("the trained index", { try $0.giveOutput($0.bytes("trained.faiss")) }),
      ("fewer rows", { try $0.forge { $0.change("outputs", at: 0) { $0["rows"] = .count(19) } } }),
      (
        "other lists",
        { try $0.forge { $0.change("outputs", at: 0) { $0["lists_sha256"] = .string(ContentDigest.of("x").hex) } } }
      ),
    ]
    for (name, forge) in forgeries {
      let place = try ForgedPlace(lake)
      try forge(place)
      try expectRefused(name, place, by: lake)
    }
    try expectHonest(lake)
  }

  @Test func aTrainedIndexThatIsNoneIsRefused() throws {
    let lake = try LakeFixture.make(.empty)
    let whole = try ForgedPlace(lake).bytes("trained.faiss")
    var wide = whole
    wide[FaissLayout.dimension] *= 2
    var damaged = whole
    damaged[0] ^= 1
    let forgeries: [(String, (ForgedPlace) throws -> Void)] = [
      ("another dimension", { try $0.giveTrained(wide) }),
      ("another kind", { try $0.giveTrained(damaged) }),
      ("nothing", { try $0.giveTrained(Array("garbage".utf8)) }),
      ("an output", { try $0.giveTrained($0.bytes("v.000.faiss")) }),
    ]
    for (name, forge) in forgeries {
      let place = try ForgedPlace(lake)
      try forge(place)
      try expectRefused(name, place, by: lake)
    }
    try expectHonest(lake)
  }

  @Test func whatALakeHasIsReadTooBeforeItIsAnOutputOfAnotherVersion() throws {
    // The bytes are here, vouched for, and those of another output.
    let lake = try LakeFixture.make(.built)
    let place = try ForgedPlace(lake)
    try place.giveOutput(place.bytes("v.001.faiss"))
    let result = try lake.run(["pull", place.path, "v@1", "--as", "other", "--patience", "0"])
    #expect(result.ending == .exit(20), "\(result.errorText)")
    #expect(try lake.texts("SELECT name FROM index_version") == ["v"])
  }
}

/// What a lake says of a version that lies, from before outputs were read.
@Suite(.tags(.slow)) struct LyingVersionTests {
  /// Takes a publication in without reading what it gives.
  private func takeIn(_ place: ForgedPlace, _ lake: LakeFixture) throws {
    let catalog = try LakeCatalog.open(root: lake.lake, writing: "a test")
    let published = try PublishedVersion(
      VersionName(parsing: "v@1"), lock: place.bytes("v.lock.json"), document: place.bytes("v.export.json"),
      from: place.path, segmentFormats: 1...segmentFormatVersion)
    let outputs = published.document.outputs.enumerated().map { ("v.00\($0).faiss", StoredKind.outputShard, $1.sha256) }
    for (file, kind, digest) in outputs + [("trained.faiss", .trainedIndex, published.document.trained.sha256)] {
      let path = try catalog.path(of: kind, digest)
      try Disk.makeDirectory(path.parentPath)
      let bytes = try place.bytes(file)
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      try catalog.recordFetched(digest, as: kind, byteCount: bytes.count)
    }
    let version = try catalog.version(catalog.takeIn(published, keeping: [], allowsInside: true))
    try catalog.seal(version, lock: published.lockText, from: place.path)
  }

  @Test func rowsThatDifferAreNamedWhateverWasSealedOfTheLists() throws {
    let lake = try LakeFixture.make(.empty)
    let place = try ForgedPlace(lake)
    try place.giveOutput(ForgedPlace.withStrangeRow(place.bytes("v.000.faiss")))
    try takeIn(place, lake)
    let result = try lake.run(["reproduce", "v@1", "--fetch", "--patience", "0"])
    #expect(result.errorText.contains("v@1 differs: first in output 0, list "), "\(result.errorText)")
    #expect(result.errorText.contains("row id 4611686018427387904"), "\(result.errorText)")
  }
}

/// Which refusals come before 850 GB were fetched.
@Suite struct EarlyRefusalTests {
  private struct Case {
    let name: String
    var stage = LakeStage.empty
    var before: [[String]] = []
    var forge: (ForgedPlace) throws -> Void = { _ in }
    var status: Int32 = 64
  }

  private static func urls(_ url: @escaping (String) -> String) -> (ForgedPlace) throws -> Void {
    { place in
      try place.forge(
        { _ in },
        documentAlone: { document in
          for source in 0..<2 {
            document.change("sources", at: source) { members in
              for shard in 0..<FeatureSources.shardCount {
                members.change("shards", at: shard) { $0["urls"] = .array([.string(url($0["name"]?.string ?? ""))]) }
              }
              members["mirrors"] = .array([.string("list")])
            }
          }
        })
    }
  }

  @Test func whatDocumentsTellIsToldBeforeAnyFileIsAskedFor() throws {
    let strange = ["--url", "https://host.example/{ordinal}.npy", "--count", "3", "--dimension", "8"]
    let cases = [
      Case(name: "another source of that name", before: [["source", "add", "images"] + strange]),
      Case(
        name: "another trained index of that name", stage: .synced,
        before: [["train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "1"]]),
      Case(name: "an address with a secret", forge: Self.urls { "https://host.example/\($0)?sig=abc" }),
      Case(
        name: "an address with a variable",
        forge: Self.urls { "https://host.example/{env:AWS_SECRET_ACCESS_KEY}/\($0)" }),
      Case(
        name: "a trained index of no name",
        forge: { place in
          try place.forge(
            { _ in },
            documentAlone: { document in
              guard case .object(var trained)? = document["trained"] else { return }
              trained["name"] = .string("../x")
              document["trained"] = .object(trained)
            })
        }, status: 20),
    ]
    for refused in cases {
      let lake = try LakeFixture.make(refused.stage)
      for arguments in refused.before { try lake.succeed(arguments) }
      let place = try ForgedPlace(lake)
      try refused.forge(place)
      let server = try HostileServer { request in
        let path = place.path + request.target.dropFirst("/pub".count).replacing("%40", with: "@")
        return FileManager.default.contents(atPath: path).map { .file(Array($0), for: request) } ?? .answer(404)
      }
      let before = try lake.contents()
      let result = try lake.run(["pull", server.url("/pub"), "v@1", "--patience", "0"])
      #expect(result.ending == .exit(refused.status), "\(refused.name): \(result.ending) \(result.errorText)")
      #expect(result.errorLines.count == 1, "\(refused.name): \(result.errorText)")
      let asked = server.requests.map(\.target)
      #expect(!asked.isEmpty && asked.allSatisfy { $0.hasSuffix(".json") }, "\(refused.name): \(asked)")
      #expect(try lake.contents() == before, "\(refused.name)")
    }
  }
}

/// Where numbers stand in the head of a file of FAISS that tarn writes.
private enum FaissLayout {
  /// The dimension, after "IwFl" or "IwSq".
  static let dimension = 4
  /// The number of lists: after dimension, count, two words, trained and metric.
  static let nlist = 4 + 4 + 8 + 8 + 8 + 1 + 4
}
