// Versions pulled under another name: what hashes the name uses the publisher's, so that
// the digest stays the publisher's, wherever the version goes.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct AliasTests {
  /// A lake that has another `v@1` than the published one, and the published one's digest.
  private static func beside() throws -> (lake: LakeFixture, digest: String) {
    let lake = try LakeFixture.make(.trained)
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2"])
    return (lake, try Disk.digest(of: LakeFixture.published() + "/v@1/v.lock.json").hex)
  }

  private static func digest(_ lake: LakeFixture, _ name: String) throws -> String? {
    try lake.text("SELECT sha256 FROM v_version WHERE version = '\(name)' AND state = 'sealed'")
  }

  @Test func anotherNameKeepsThePublishersDigestWhereverItGoes() throws {
    let (lake, digest) = try Self.beside()
    let pulled = try lake.succeed(["pull", LakeFixture.published(), "v@1", "--as", "theirs", "--allow-inside"])
    #expect(pulled.outputText.contains("theirs@1 is in this lake, published as v@1"), "\(pulled.outputText)")
    #expect(try Self.digest(lake, "theirs@1") == digest)
    #expect(try Self.digest(lake, "v@1") != digest)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: lake.lake + "/versions/theirs@1").sorted()
        == ["theirs.000.faiss", "theirs.001.faiss", "theirs.export.json", "theirs.lock.json"])
    #expect(try Disk.digest(of: lake.lake + "/versions/theirs@1/theirs.lock.json").hex == digest)
    for arguments in [["show", "theirs@1"], ["status"], ["versions"]] {
      #expect(try lake.succeed(arguments).outputText.contains("published_as"), "\(arguments)")
    }
    // Again, nothing moves; under its own name, or a third, it is refused.
    #expect(try lake.succeed(["pull", LakeFixture.published(), "--as", "theirs"]).outputText.contains("already"))
    #expect(try lake.run(["pull", LakeFixture.published(), "--as", "third"]).ending == .exit(64))
    #expect(try lake.run(["pull", LakeFixture.published(), "v@1"]).ending == .exit(64))

    let built = try LakeFixture.make(.built)
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    let search = { (lake: LakeFixture, name: String) in
      try lake.succeed(["search", name, "--queries", queries]).output
    }
    let answer = try search(built, "v@1")
    #expect(try search(lake, "theirs@1") == answer)
    #expect(try lake.succeed(["reproduce", "theirs@1"]).outputText.contains("identical"))
    #expect(try lake.succeed(["export", "theirs@1"]).output == built.succeed(["export", "v@1"]).output)
    try lake.succeed(["verify"])
    try lake.succeed(["doctor", "--quiet"])

    // To a third place, under the publisher's name, the same bytes; and from there.
    let third = lake.directory.path + "/third"
    try lake.succeed(["push", "theirs", third])
    for file in try FileManager.default.subpathsOfDirectory(atPath: LakeFixture.published()) where file.contains(".") {
      #expect(
        try Disk.digest(of: "\(third)/\(file)") == Disk.digest(of: "\(LakeFixture.published())/\(file)"), "\(file)")
    }
    let other = try LakeFixture.make(.empty)
    try other.succeed(["pull", third, "v@1", "--allow-inside"])
    #expect(try Self.digest(other, "v@1") == digest)

    // The catalog is lost.
    try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite")
    try lake.succeed(["rebuild-catalog"])
    #expect(try Self.digest(lake, "theirs@1") == digest)
    #expect(try lake.text("SELECT published_as FROM v_version WHERE version = 'theirs@1'") == "v@1")
    #expect(try lake.text("SELECT coalesce(published_as, 'own') FROM v_version WHERE version = 'v@1'") == "own")
    #expect(try search(lake, "theirs@1") == answer)
    try lake.succeed(["verify"])
    // A lost lock file and document come back as they were.
    for file in ["theirs.lock.json", "theirs.export.json"] {
      try FileManager.default.removeItem(atPath: "\(lake.lake)/versions/theirs@1/\(file)")
    }
    #expect(try lake.run(["verify", "--repair"]).errorText.contains("2 of them restored"))
    #expect(try Disk.digest(of: lake.lake + "/versions/theirs@1/theirs.lock.json").hex == digest)
    try lake.succeed(["verify"])
  }

  @Test func theNextNumberIsTaken() throws {
    let (lake, digest) = try Self.beside()
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--shards-per-output", "3"])
    try lake.succeed(["pull", LakeFixture.published(), "--as", "w"])
    #expect(try Self.digest(lake, "w@2") == digest)
    try lake.succeed(["verify"])
  }

  @Test func aNameThatIsNoneOrItsOwnIsRefused() throws {
    let lake = try LakeFixture.make(.empty)
    let before = try lake.contents(lasting: true)
    for name in ["v", "../x", "a b", "x@2", ""] {
      let result = try lake.run(["pull", LakeFixture.published(), "--as", name, "--patience", "0"])
      #expect(result.ending == .exit(64), "\(name): \(result.errorText)")
    }
    let file = [
      "pull", try LakeFixture.published(), "--file", "v.000.faiss", "--into", lake.directory.path, "--as", "x",
    ]
    #expect(try lake.run(file).ending == .exit(64))
    #expect(try lake.contents(lasting: true) == before)
  }

  /// The name in a lock file is the publisher's only where the files bear the directory's: one
  /// that was moved by hand is no version of another name.
  @Test func aDirectoryThatWasMovedIsNoAlias() throws {
    let lake = try LakeFixture.make(.built)
    try FileManager.default.moveItem(atPath: lake.lake + "/versions/v@1", toPath: lake.lake + "/versions/v@2")
    try FileManager.default.copyItem(atPath: lake.lake + "/versions/v@2", toPath: lake.lake + "/versions/x@1")
    try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite")
    #expect(try lake.run(["rebuild-catalog"]).ending != .exit(0))
    #expect(!FileManager.default.fileExists(atPath: lake.lake + "/catalog.sqlite"))
  }
}
