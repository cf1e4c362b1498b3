// Lakes as people make them, in any order and with kills in between: `verify` and
// `doctor` raise no alarm where nothing was harmed.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite(.tags(.slow)) struct RandomLakesTests {
  /// A lake, and what was asked of it.
  private struct Life {
    let lake: LakeFixture
    var random: SplitMix64
    var sources = ["images", "captions"]
    var log: [String] = []

    mutating func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    /// Files that a source of its own is registered from.
    func directory(_ name: String, _ count: Int, seed: UInt64) throws -> [String] {
      let path = lake.directory.path + "/" + name
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      return try (0..<count).map { ordinal in
        let bytes = FeatureBytes.npy(20, dimension: 8, .float16, seed: seed + UInt64(ordinal))
        try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)_\(ordinal).npy"))
        return "\(path)/\(name)_\(ordinal).npy"
      }
    }

    mutating func command() throws -> [String] {
      let trained = ["t", "t0", "t1"][draw(3)]
      let version = "v\(draw(3))@\(1 + draw(2))"
      let source = sources[draw(sources.count)]
      switch draw(16) {
      case 0:
        let name = "d\(sources.count)"
        _ = try directory(name, 1 + draw(3), seed: UInt64(1000 + draw(5)))
        sources.append(name)
        return ["source", "add", name, "--directory", "\(lake.directory.path)/\(name)", "--dimension", "8"]
      case 1:
        let name = "u\(sources.count)"
        _ = try directory(name, 2, seed: UInt64(2000 + draw(5)))
        sources.append(name)
        return [
          "source", "add", name, "--url", "http://127.0.0.1:9/\(name)_{ordinal}.npy", "--count", "2", "--dimension",
          "8",
        ]
      case 2:
        guard let name = sources.last(where: { $0.hasPrefix("u") }) else { return ["source", "list"] }
        return ["import", name] + (0..<2).map { "\(lake.directory.path)/\(name)/\(name)_\($0).npy" }
      case 3: return ["sync", "images", "captions", "--quiet"]
      case 4: return ["sync", source.hasPrefix("u") ? "images" : source, "--quiet"]
      case 5:
        return [
          "train", trained, "--images", "images", "--captions", "captions", "--nlist", "\(2 + draw(2))", "--iterations",
          "2", "--quiet",
        ]
      case 6:
        return [
          "train", trained, "--images", source, "--method", "kmeans", "--nlist", "2", "--seed", "\(draw(3))", "--codec",
          ["sq4", "sq8", "fp16", "flat"][draw(4)], "--quiet",
        ]
      case 7:
        return [
          "train", trained, "--images", "images", "--captions", "captions", "--nlist", "2", "--router",
          ["learned", "caption-mean", "anchored"][draw(3)], "--router-epochs", "2", "--quiet",
        ]
      case 8, 9, 10:
        return [
          "build", "v\(draw(3))", "--trained", trained, "--images", draw(2) == 0 ? "images" : source,
          "--shards-per-output", "\(1 + draw(2))", "--missing", ["skip", "fail"][draw(2)], "--offline", "--quiet",
        ]
      case 11: return [["revoke", version, "--reason", "no"], ["unpin", version]][draw(2)]
      case 12: return ["gc", "--apply", "--grace", "0s"] + (draw(2) == 0 ? ["--segments"] : [])
      case 13: return [["pin", version, "--reason", "paper"], ["evict", source]][draw(2)]
      case 14: return ["reproduce", version, "--quiet"]
      default: return [["verify", "--repair"], ["backup", lake.directory.path + "/backup.sqlite"]][draw(2)]
      }
    }

    /// Runs a command, killed before one of its steps or not.
    mutating func live() throws {
      let arguments = try command()
      let kill = draw(4) == 0 ? "kill@\(1 + draw(30))" : nil
      let result = try lake.run(arguments, environment: kill.map { ["TARN_FAULT": $0] } ?? [:])
      log.append("\(arguments.joined(separator: " "))\(kill.map { " (\($0))" } ?? ""): \(result.ending)")
      // What it was asked may be impossible; it says so.
      let isSaid: Bool =
        switch result.ending {
        case .exit(let status): [0, 3, 20, 21, 64, 75].contains(status)
        case .signal(let number): kill != nil && number == SIGKILL
        case .overdue: false
        }
      #expect(isSaid, "\(log.last ?? ""): \(result.errorText)")
    }

    func examine() throws {
      for arguments in [["doctor", "--quiet"], ["verify"], ["doctor", "--quiet"]] {
        let result = try lake.run(arguments)
        #expect(result.ending == .exit(0), "\(log.joined(separator: "\n"))\n\(arguments): \(result.outputText)")
      }
    }
  }

  @Test func noAlarmWhereNothingWasHarmed() throws {
    let (lakes, steps) = (TestRounds.count(4, full: 100), 14)
    var sealed = 0
    for number in 0..<lakes {
      var life = Life(lake: try LakeFixture.make(.trained), random: SplitMix64(seed: UInt64(77 + number)))
      for step in 0..<steps {
        try life.live()
        if step == steps / 2 { try life.examine() }
      }
      try life.examine()
      sealed += try life.lake.texts("SELECT name FROM index_version WHERE version_sha256 IS NOT NULL").count
    }
    #expect(sealed >= lakes / 2, "lakes have versions")
  }
}
