// Commands as mirrors of a request: real processes, in a directory of their own.

import Base
import Fetch
import Foundation
import Synchronization
import Testing
import TestSupport

/// How often a command was looked at.
private final class Looks: Sendable {
  let count = Mutex(0)
}

@Suite struct CommandRunTests {
  private let directory: TemporaryDirectory
  private let good = makeShard(rows: 5)

  init() throws {
    directory = try TemporaryDirectory()
    try Data(good).write(to: URL(fileURLWithPath: directory.path + "/good"))
  }

  /// A command of a shell, which gets the output's path as $1 and this directory as $2.
  private func shell(_ script: String, _ more: String = "") -> String {
    "command:sh -c '\(script)' sh {output} \(directory.path)\(more)"
  }

  private func allowing(_ change: (inout CommandRules) -> Void = { _ in }) -> FetchConfiguration {
    var configuration = quickConfiguration()
    var rules = CommandRules()
    change(&rules)
    configuration.commands = rules
    configuration.commandEnvironment = ["PATH": "/usr/bin:/bin"]
    return configuration
  }

  private var left: [String] { get throws { try directory.contents().filter { $0.contains("part") } } }

  @Test func s8ACommandIsRunOnlyWhereItIsAllowed() async throws {
    let request = makeRequest(in: directory, from: [shell("touch \"$2/ran\"; cp \"$2/good\" \"$1\"")])
    let refused = await fetch([request])
    #expect(refused.failure()?.code == .usage)
    #expect(refused.failure()?.message.contains("--allow-commands") ?? false)
    #expect(try !directory.contents().contains("ran"))
    let allowed = await fetch([request], configuration: allowing())
    #expect(allowed.shard()?.digest == ContentDigest.of(good))
    #expect(allowed.shard().flatMap { bytes(at: $0.path) } == good)
    #expect(try directory.contents().contains("ran"))
    #expect(try left.isEmpty)
  }

  /// Whoever brought the address, the word for it is the user's.
  @Test func s8ADocumentsCommandIsNotRunEither() async throws {
    let path = directory.path
    let request = FetchRequest(
      id: 1, mirrors: [FetchMirror(id: 1, url: shell("touch \"$2/ran\""), isOfDocument: true)],
      partPath: path + "/1.part", expectation: ShardExpectation(dimension: 4, elementType: .float16),
      finalPath: { _ in path + "/1.npy" })
    #expect(await fetch([request]).failure()?.code == .usage)
    #expect(try !directory.contents().contains("ran"))
  }

  @Test func theNextMirrorIsAskedWhereACommandFailsOrMayNotRun() async throws {
    let urls = [shell("exit 4"), "file://\(directory.path)/good"]
    for configuration in [quickConfiguration(), allowing()] {
      let run = await fetch([makeRequest(in: directory, from: urls)], configuration: configuration)
      #expect(run.shard()?.mirrorID == 2)
    }
  }

  @Test func aRunIsToldWithItsInputsAndWhatItPrinted() async throws {
    let input = " {input=\(directory.path)/good}"
    let run = await fetch(
      [makeRequest(in: directory, from: [shell("echo hello; cp \"$3\" \"$1\"", " {input}" + input)])],
      configuration: allowing())
    let record = try #require(run.attempts.last?.command)
    #expect(record.exitStatus == 0 && record.signal == nil && record.tail == "hello\n")
    #expect(record.output == ContentDigest.of(good))
    #expect(record.inputs.map(\.digest) == [ContentDigest.of(good)] && record.inputs.map(\.byteCount) == [good.count])
    #expect(run.attempts.count == 1)
  }

  @Test(arguments: [
    ("exit 3", TarnError.Code.refused), ("kill -9 $$", .refused), ("true", .integrity),
    ("ln -s \"$2/good\" \"$1\"", .integrity),
    ("ln \"$2/good\" \"$1\"", .integrity), ("mkdir \"$1\"", .integrity), ("mkfifo \"$1\"", .integrity),
    ("head -c 100 \"$2/good\" > \"$1\"", .integrity), ("head -c 130 \"$2/good\" > \"$1\"", .integrity),
    (": > \"$1\"", .integrity), ("cat \"$2/good\" \"$2/good\" > \"$1\"", .integrity),
    ("cp \"$2/good\" \"$1\"; chmod 0 \"${1%/*}\" \"$1\"; exit 1", .refused),
  ]) func whatIsNotTheShardIsOneFailureOfOneRun(script: String, code: TarnError.Code) async throws {
    let run = await fetch([makeRequest(in: directory, from: [shell(script)])], configuration: allowing())
    #expect(run.failure()?.code == code, "\(String(describing: run.failure()))")
    #expect(run.attempts.count == 1)
    #expect(try left.isEmpty)
  }

  @Test func aFileThatMayNotBeReadIsReadAllTheSame() async throws {
    let run = await fetch(
      [makeRequest(in: directory, from: [shell("cp \"$2/good\" \"$1\"; chmod 0 \"$1\"")])], configuration: allowing())
    #expect(run.shard()?.digest == ContentDigest.of(good))
  }

  @Test func anInputThatChangesMeanwhileIsAnError() async throws {
    let run = await fetch(
      [
        makeRequest(
          in: directory,
          from: [shell("cp \"$2/good\" \"$1\"; echo more >> \"$2/good\"", " {input=\(directory.path)/good}")])
      ], configuration: allowing())
    #expect(run.failure()?.code == .integrity)
    #expect(run.failure()?.message.contains("changed while") ?? false)
  }

  @Test func aKnownDigestDecides() async throws {
    let other = ContentDigest.of([1])
    let run = await fetch(
      [makeRequest(in: directory, from: [shell("cp \"$2/good\" \"$1\"")], digest: other)], configuration: allowing())
    #expect(run.failure()?.code == .integrity)
    #expect(try left.isEmpty)
    #expect(try directory.contents() == ["good"])
  }

  @Test func s8NothingThatACommandBeganOutlivesIt() async throws {
    let script = "sleep 1000 & echo $! > \"$2/near\"; setsid sleep 1000 & echo $! > \"$2/far\"; cp \"$2/good\" \"$1\""
    let run = await fetch([makeRequest(in: directory, from: [shell(script)])], configuration: allowing())
    #expect(run.shard() != nil)
    for name in ["near", "far"] {
      let text = try String(contentsOfFile: "\(directory.path)/\(name)", encoding: .utf8)
      let stat = try? String(contentsOfFile: "/proc/\(text.dropLast())/stat", encoding: .utf8)
      // Whoever inherited it may not have taken note of its end yet.
      #expect(stat.map { $0.contains(") Z ") } ?? true, "\(name) lives: \(stat ?? "")")
    }
  }

  @Test func oneThatTakesTooLongIsEnded() async throws {
    let run = await fetch(
      [makeRequest(in: directory, from: [shell("trap : TERM; while :; do sleep 1000; done")])],
      configuration: allowing { rules in
        rules.timeout = .milliseconds(50)
        rules.grace = .milliseconds(50)
      })
    #expect(run.failure()?.code == .refused)
    #expect(run.failure()?.message.contains("did not end within") ?? false)
    #expect(run.attempts.last?.command?.signal == 9)
  }

  @Test func oneThatClosedItsStreamsIsLookedAtAsAnyOther() async throws {
    let (path, looks) = (directory.path, Looks())
    var expectation = ShardExpectation(dimension: 4, elementType: .float16)
    expectation.roomByteCount = 0
    let script = "exec >&- 2>&-; head -c 100000 /dev/zero > \"${1%/*}/big\"; sleep 2; cp \"$2/good\" \"$1\""
    var request = FetchRequest(
      id: 1, mirrors: [FetchMirror(id: 1, url: shell(script))], partPath: path + "/1.part", expectation: expectation,
      finalPath: { _ in path + "/1.npy" })
    request.takesRoom = { byteCount in
      looks.count.withLock { $0 += 1 }
      // For the shard alone.
      return byteCount < 4_096
    }
    #expect(await fetch([request], configuration: allowing()).shard() != nil)
    let count = looks.count.withLock(\.self)
    #expect((5..<200).contains(count), "\(count) looks in 2 s")
  }

  @Test func exitStatus75IsTriedAgain() async throws {
    let script = "test -e \"$2/again\" && cp \"$2/good\" \"$1\" || { touch \"$2/again\"; exit 75; }"
    let run = await fetch([makeRequest(in: directory, from: [shell(script)])], configuration: allowing())
    #expect(run.shard() != nil)
    #expect(run.attempts.map(\.outcome) == [.temporary, .succeeded])
  }
}
