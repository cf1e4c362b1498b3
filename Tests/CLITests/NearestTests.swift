import Base
import Catalog
import Foundation
import Lake
import Testing
import TestSupport

/// `train --nearest index`.
@Suite struct NearestTests {
  private static let train = [
    "--images", "images", "--captions", "captions", "--nlist", "8", "--router", "caption-mean", "--refinements", "1",
    "--quiet",
  ]

  /// Another training than the exact one, said so everywhere, and made again of its
  /// document and of its record alone.
  @Test func itIsRecordedAndMadeAgain() throws {
    let lake = try PairedShards([300, 200], seed: 4).lake()
    try lake.succeed(["train", "exact"] + Self.train)
    try lake.succeed(["train", "t", "--nearest", "index:1"] + Self.train)
    let rows = try lake.texts("SELECT trained_index || ' ' || nearest FROM v_trained_index ORDER BY trained_index")
    #expect(rows == ["exact exact", "t index:1"])
    #expect(try lake.texts("SELECT DISTINCT sha256 FROM v_trained_index").count == 2)
    #expect(try lake.texts("SELECT count(*) FROM trained_index WHERE spec LIKE '%nearest%'") == ["1"])
    let agreed = try lake.texts(
      """
      SELECT json_extract(detail, '$.nearest_agreement.agreed') || ' of ' || json_extract(detail, '$.nearest_agreement.of')
      FROM event WHERE verb = 'trained' AND json_extract(detail, '$.nearest_agreement') IS NOT NULL
      """)
    let first = try #require(agreed.compactMap { $0.hasSuffix(" of 500") ? Int($0.dropLast(7)) : nil }.first)
    #expect((1..<500).contains(first), "one list of many has not every nearest image")
    let shown = try lake.succeed(["show", "t", "--json"]).outputText
    #expect(shown.contains("\"agreed\":\(first)") && shown.contains("index:1"), "\(shown)")
    #expect(try !lake.succeed(["show", "exact"]).outputText.contains("agreed"))
    let digest = try lake.texts("SELECT sha256 FROM v_trained_index WHERE trained_index = 't'")[0]
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    let path = try LakeCatalog.open(root: lake.lake, writing: nil).path(
      of: .trainedIndex, #require(ContentDigest(hex: digest)))
    try FileManager.default.removeItem(atPath: path)
    #expect(try lake.run(["verify", "--repair"]).errorText.contains("1 of them restored"))
    #expect(try Disk.digest(of: path).hex == digest)
    #expect(try lake.succeed(["reproduce", "v@1"]).outputText.contains("identical"))
  }

  /// With every list it is the exact training in all but its specification.
  @Test func withEveryListItHasTheBytesOfTheExactTraining() throws {
    let lake = try PairedShards([300], seed: 4).lake()
    try lake.succeed(["train", "exact"] + Self.train)
    try lake.succeed(["train", "t", "--nearest", "index:64"] + Self.train)
    #expect(try lake.texts("SELECT DISTINCT sha256 FROM v_trained_index").count == 1)
    #expect(try lake.texts("SELECT count(DISTINCT spec_sha256) FROM trained_index") == ["2"])
    try lake.succeed(["train", "u", "--nearest", "exact"] + Self.train)
    #expect(try lake.texts("SELECT count(DISTINCT spec_sha256) FROM trained_index") == ["2"])
  }

  @Test func refusesWhatIsNoSearchAndTrainingsWithoutCaptions() throws {
    let lake = try PairedShards([300], seed: 4).lake()
    let images = ["train", "t", "--images", "images", "--nlist", "4"]
    #expect(try lake.run(images + ["--method", "kmeans", "--nearest", "index"]).ending == .exit(64))
    #expect(try lake.run(images + ["--captions", "captions", "--nearest", "ivf"]).ending == .exit(64))
  }
}
