// Every class of file, harmed in every way, in a lake that tarn itself made:
// `verify` names exactly what was harmed, and what can be made again is.

import Foundation
import Testing
import TestSupport

/// A class of file that a lake holds.
private enum FileClass: String, CaseIterable {
  case shard
  case trainedIndex = "trained-index"
  case nearestImages = "nearest-images"
  case segment
  case output = "output-shard"
  case name = "output-name"
  case lock = "lock-file"
  case document

  /// The files of the class, absolute.
  func paths(_ lake: LakeFixture) throws -> [String] {
    switch self {
    case .shard:
      return try lake.texts("SELECT path FROM stored_bytes WHERE place = 'shards'").map { "\(lake.lake)/shards/\($0)" }
    case .trainedIndex, .nearestImages, .segment, .output:
      return try lake.texts("SELECT path FROM stored_bytes WHERE kind = '\(rawValue)'").map {
        "\(lake.lake)/artifacts/\($0)"
      }
    case .name: return ["\(lake.lake)/versions/v@1/v.000.faiss", "\(lake.lake)/versions/v@1/v.001.faiss"]
    case .lock: return ["\(lake.lake)/versions/v@1/v.lock.json"]
    case .document: return ["\(lake.lake)/versions/v@1/v.export.json"]
    }
  }
}

/// What happens to a file.
private enum Harm: String, CaseIterable {
  case bitFlip = "a bit flipped"
  /// Under every name that the file has.
  case bitFlipInPlace = "a bit flipped in place"
  case zeros = "zeroed in part"
  case truncation = "cut short"
  case empty = "emptied"
  case growth = "grown"
  case deletion = "deleted"
  /// Two files of the class under each other's names.
  case exchange = "exchanged"

  /// Harms the first file of a class.
  ///
  /// - Returns: The files that are not what they should be now; none when the
  ///   class has too few files for it.
  func inflict(on paths: [String]) throws -> [String] {
    guard let path = paths.first else { return [] }
    let url = URL(fileURLWithPath: path)
    var bytes = try Data(contentsOf: url)
    switch self {
    case .bitFlip, .bitFlipInPlace: bytes[bytes.count / 2] ^= 0x04
    case .zeros:
      let middle = bytes.count / 2
      bytes.replaceSubrange(middle - 8..<middle + 8, with: [UInt8](repeating: 0, count: 16))
      // Zeros over zeros are no harm.
      bytes[middle] = 0x55
    case .truncation: bytes.removeLast(bytes.count / 3)
    case .empty: bytes = Data()
    case .growth: bytes.append(contentsOf: [0, 0, 0])
    case .deletion:
      try FileManager.default.removeItem(at: url)
      return [path]
    case .exchange:
      guard paths.count > 1 else { return [] }
      try FileManager.default.moveItem(atPath: path, toPath: path + ".aside")
      try FileManager.default.moveItem(atPath: paths[1], toPath: path)
      try FileManager.default.moveItem(atPath: path + ".aside", toPath: paths[1])
      return [path, paths[1]]
    }
    if self == .bitFlipInPlace {
      let handle = try FileHandle(forUpdating: url)
      try handle.write(contentsOf: bytes)
      try handle.close()
    } else {
      // A new file: other names of the old one keep their bytes.
      try bytes.write(to: url, options: .atomic)
    }
    return [path]
  }
}

@Suite(.tags(.slow)) struct DamageMatrixTests {
  @Test func exactlyWhatWasHarmedIsNamedAndMadeAgain() throws {
    let sources = try LakeFixture.sources()
    let whole = try LakeFixture.make(.trained)
    for arguments in LakeStage.built.arguments(sources) { try whole.succeed(arguments) }
    var (harmed, named, falseAlarms, restored) = (0, 0, 0, 0)
    var faults: [String] = []
    for file in FileClass.allCases {
      // What happens to an output's bytes in place happens to its name's.
      for harm in Harm.allCases where (file, harm) != (.name, .bitFlipInPlace) {
        let lake = try whole.copy(keepingLinks: true)
        let expected = Set(try harm.inflict(on: try file.paths(lake).sorted()))
        guard !expected.isEmpty else { continue }
        let place = "\(file.rawValue) \(harm.rawValue)"
        let found = try damages(lake, ["verify"])
        harmed += expected.count
        named += expected.intersection(found).count
        falseAlarms += Set(found).subtracting(expected).count
        if Set(found) != expected || found.count != expected.count { faults.append("\(place): named \(found)") }

        _ = try damages(lake, ["verify", "--repair"])
        for stage in [LakeStage.synced, .trained, .built] {
          for arguments in stage.arguments(sources) { _ = try lake.run(arguments) }
        }
        let left = try damages(lake, ["verify"])
        if left.isEmpty { restored += expected.count } else { faults.append("\(place): not made again: \(left)") }
      }
    }
    print(
      "damage matrix: \(harmed) files harmed, \(named) named, \(falseAlarms) false alarms, \(restored) whole again")
    #expect(faults.isEmpty, "\(faults.joined(separator: "\n"))")
    #expect(harmed >= 50 && named == harmed && falseAlarms == 0)
  }

  @Test func aWholeLakeRaisesNoAlarm() throws {
    #expect(try damages(LakeFixture.make(.built).copy(keepingLinks: true), ["verify"]) == [])
  }

  /// The damaged files that verify names.
  private func damages(_ lake: LakeFixture, _ arguments: [String]) throws -> [String] {
    let result = try lake.run(arguments + ["--json"])
    let first = try #require(result.outputText.split(separator: "\n").first, "\(result.errorText)")
    let document = try JSONSerialization.jsonObject(with: Data(first.utf8)) as? [String: Any]
    let damages = try #require(document?["damages"] as? [[String: Any]])
    #expect(result.ending == .exit(damages.isEmpty ? 0 : 20))
    return damages.compactMap { $0["path"] as? String }
  }
}
