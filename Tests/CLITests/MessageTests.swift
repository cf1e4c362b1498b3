// What a newcomer reads: each thing that was said badly once is said so that the
// next command works.

import Base
import Foundation
import Lake
import Testing
import TestSupport

@Suite struct MessageTests {
  /// Checks that a command was refused in one line.
  private func expectRefusal(
    _ result: ProcessResult, _ status: Int32 = 64, _ fragments: [String], location: SourceLocation = #_sourceLocation
  ) {
    #expect(result.ending == .exit(status), "\(result.errorText)", sourceLocation: location)
    #expect(result.errorLines.count == 1, "\(result.errorText)", sourceLocation: location)
    for fragment in fragments {
      #expect(result.errorText.contains(fragment), "\(result.errorText)", sourceLocation: location)
    }
  }

  private func write(_ bytes: [UInt8], _ name: String, _ lake: LakeFixture) throws -> String {
    let path = "\(lake.directory.path)/\(name)"
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }

  // MARK: The command line

  /// libcurl is loaded when something is fetched, and where it cannot be, that is said.
  @Test func whatFetchesNothingNeedsNoLibraryForIt() throws {
    let lake = try LakeFixture.nothing()
    try lake.succeed(["init", lake.lake])
    let directory = try TemporaryDirectory()
    #expect(FileManager.default.createFile(atPath: directory.path + "/libcurl.so.4", contents: Data()))
    let environment = ["LD_LIBRARY_PATH": directory.path]
    let status = try lake.run(["status"], environment: environment)
    #expect(status.ending == .exit(0), "\(status.errorText)")
    let added = try lake.run(
      ["source", "add", "far", "--url", "http://127.0.0.1:9/{ordinal}.npy", "--count", "1"], environment: environment)
    expectRefusal(
      added, 1, ["libcurl cannot be loaded: ", "\(directory.path)/libcurl.so.4", "put Debian's libcurl4 in the place"])
    // What a report of that must say, it says.
    let version = try lake.run(["--version"], environment: environment)
    #expect(version.ending == .exit(0), "\(version.errorText)")
    #expect(version.outputText.contains("cannot be loaded: \(directory.path)/libcurl.so.4"), "\(version.outputText)")
    #expect(version.outputText.contains("OpenBLAS"))
  }

  /// Who makes a lake has no time to wait: what is there when another is done is looked at anew.
  @Test func whoMakesALakeThatIsBeingMadeIsToldWhatToDo() throws {
    let lake = try LakeFixture.nothing()
    try FileManager.default.createDirectory(atPath: lake.lake, withIntermediateDirectories: true)
    let lock = open("\(lake.lake)/tarn.lock", O_RDWR | O_CREAT, 0o666)
    defer { close(lock) }
    #expect(flock(lock, LOCK_EX) == 0)
    let refused = try lake.run(["init", lake.lake])
    expectRefusal(refused, 11, ["another tarn is writing to this lake", "look what is there then"])
    #expect(!refused.errorText.contains("--wait"))
  }

  /// The lake that is named is the one that is made, in whichever of the ways it is named.
  @Test func aNewLakeIsWhereItIsSaidToBe() throws {
    let directory = try TemporaryDirectory()
    let (lake, here) = ("\(directory.path)/lake", "\(directory.path)/here")
    try FileManager.default.createDirectory(atPath: here, withIntermediateDirectories: false)
    func run(_ arguments: [String], _ environment: [String: String] = [:]) throws -> ProcessResult {
      try ProcessRunner.run(arguments, environment: environment, directory: here)
    }
    for (arguments, environment, expected) in [
      (["init", "--lake", lake], [:], lake),
      (["--lake", "../early", "init"], ["TARN_LAKE": lake], "\(directory.path)/early"),
      (["init"], ["TARN_LAKE": "../variable"], "\(directory.path)/variable"),
      (["init", "named", "--lake", "\(here)/./named"], ["TARN_LAKE": lake], "\(here)/named"),
      (["init"], [:], here),
    ] as [([String], [String: String], String)] {
      let result = try run(arguments, environment)
      #expect(result.ending == .exit(0), "\(result.errorText)")
      #expect(result.outputText == "made a lake in \(expected)\n")
      #expect(Disk.size(of: expected + "/catalog.sqlite") != nil)
    }
    expectRefusal(
      try run(["init", "other", "--lake", lake]), 64, ["init: two directories are named, other and", lake])
    #expect(Disk.size(of: here + "/other") == nil)
  }

  @Test func aWordThatIsNoVerbIsToldWithTheOneThatWasMeant() throws {
    expectRefusal(try ProcessRunner.run(["--lake"]), 64, ["the value of --lake is missing"])
    expectRefusal(try ProcessRunner.run(["--lake", "x", "--json"]), 64, ["no verb follows --lake x --json"])
    expectRefusal(try ProcessRunner.run(["staus"]), 64, ["'staus' is no verb of tarn; did you mean 'status'?"])
    expectRefusal(try ProcessRunner.run(["source", "lst"]), 64, ["no verb of tarn source", "'list'"])
    expectRefusal(try ProcessRunner.run(["frobnicate"]), 64, ["see `tarn --help`"])
    expectRefusal(try ProcessRunner.run(["help", "staus"]), 64, ["'status'"])
    let json = try ProcessRunner.run(["staus", "--json"])
    let document = try JSONSerialization.jsonObject(with: Data(json.output)) as? [String: [String: Any]]
    #expect(document?["error"]?["exit"] as? Int == 64)
  }

  /// A name that nothing has is answered with those near to it, of the kind that is wanted.
  @Test func namesThatAreNearAreAskedAbout() throws {
    let lake = try LakeFixture.make(.built)
    for (arguments, fragment) in [
      (["sync", "imags"], "no source named 'imags'; did you mean 'images'?"),
      (["evict", "captoins"], "did you mean 'captions'?"),
      (["source", "show", "Images"], "did you mean 'images'?"),
      (["show", "v@2"], "there is no index version v@2; did you mean 'v@1'?"),
      (["build", "w", "--trained", "T", "--images", "images"], "no trained index named 'T'; did you mean 't'?"),
      (["build", "w", "--trained", "t", "--images", "image"], "did you mean 'images'?"),
      (["search", "nothing", "--like", "0"], "`tarn versions` lists all there are"),
    ] {
      expectRefusal(try lake.run(arguments), 64, [fragment])
    }
  }

  /// NAME is its newest version, and which one that is is told; where there is no way back it has to be said.
  @Test func aBareNameIsItsNewestVersion() throws {
    let lake = try LakeFixture.make(.built)
    for arguments in [
      ["show", "v"], ["locate", "v", "0"], ["export", "v"], ["diff", "v", "v@1"], ["pin", "v"], ["unpin", "v"],
    ] {
      let named = try lake.run(arguments)
      #expect(
        named.ending == .exit(0) && named.errorText == "v is v@1, its newest sealed version\n",
        "\(arguments) \(named.errorText)")
      #expect(try lake.run(arguments + ["--quiet"]).errorText.isEmpty)
    }
    #expect(try lake.run(["export", "v@1"]).errorText.isEmpty)
    expectRefusal(
      try lake.run(["revoke", "v", "--reason", "x"]), 64, ["revoke takes NAME@N", "the newest of v is v@1"])
    expectRefusal(try lake.run(["pin", "w"]), 64, ["there is no index version of the name w"])
    // Where it was published, too.
    let place = lake.directory.path + "/public"
    try Disk.makeDirectory(place)
    try lake.succeed(["push", "v@1", place])
    let other = try LakeFixture.make(.empty)
    #expect(try other.run(["pull", place, "v", "--allow-inside"]).outputText.contains("v@1"))
    expectRefusal(try other.run(["pull", place, "vv"]), 64, ["has no version of vv"])
  }

  @Test func anEmptyLakeSaysWhatComesFirst() throws {
    let status = try LakeFixture.make(.empty).run(["status"])
    #expect(status.outputText.contains("no source is registered yet: `tarn source add` registers one"))
    #expect(try !LakeFixture.make(.registered).run(["status"]).outputText.contains("registered yet"))
  }

  @Test func faultsOfArgumentsAreOneLine() throws {
    for (arguments, fragment) in [
      (["sync", "--jbos", "3"], "Did you mean '--jobs'"), (["sync", "--jobs", "x"], "--jobs"), (["build"], "<name>"),
      (["sync", "--jobs", "0"], "--jobs is 1 to 64"), (["limit", "5"], "with its unit"),
      (["limit", "500.5"], "with its unit"), (["limit", "5/s"], "with its unit"), (["limit", "0.4b"], "with its unit"),
    ] {
      expectRefusal(try ProcessRunner.run(arguments), 64, [fragment, "see `tarn \(arguments[0]) --help`"])
    }
  }

  @Test(arguments: [
    (["sync", "--patience", "5x"], "10m"), (["sync", "--bwlimit", "5"], "50MB/s"), (["sync", "--wait", "soon"], "10m"),
    (["build", "v", "--trained", "t", "--images", "i", "--budget", "much"], "100GB"),
    (["worker", ".", "--bwlimit", "x"], "50MB/s"),
  ])
  func aValueThatIsNoneIsToldWithOnesThatAre(arguments: [String], example: String) throws {
    expectRefusal(
      try ProcessRunner.run(arguments), 64, ["is invalid for '", example, "see `tarn \(arguments[0]) --help`"])
  }

  @Test(arguments: ["abc", "0", "-1", "1025", "2.5"]) func aNumberOfThreadsThatIsNoneIsRefused(text: String) throws {
    let lake = try LakeFixture.make(.empty)
    expectRefusal(try lake.run(["status"], environment: ["TARN_THREADS": text]), 64, ["TARN_THREADS", "1 to 1024"])
    for fine in ["", "1024"] {
      #expect(try lake.run(["status"], environment: ["TARN_THREADS": fine]).ending == .exit(0))
    }
    #expect(try lake.run(["status", "--help"], environment: ["TARN_THREADS": text]).ending == .exit(0))
  }

  @Test func instructionsThatAreNoneAreRefused() throws {
    let lake = try LakeFixture.make(.empty)
    expectRefusal(try lake.run(["status"], environment: ["TARN_SIMD": "foo"]), 64, ["TARN_SIMD", "'foo'", "avx2"])
    for fine in ["", "portable", "avx512"] {
      #expect(try lake.run(["status"], environment: ["TARN_SIMD": fine]).ending == .exit(0))
    }
  }

  @Test func aSyncThatFoundNothingToDoSaysNothingWhereItIsQuiet() throws {
    let lake = try LakeFixture.make(.synced)
    let quiet = try lake.succeed(["sync", "--quiet"])
    #expect(quiet.output.isEmpty && quiet.errors.isEmpty, "\(quiet.outputText)\(quiet.errorText)")
    #expect(try lake.succeed(["sync"]).outputText.hasPrefix("0 shards fetched"))
    try lake.evictImages()
    #expect(try lake.succeed(["sync", "--quiet"]).outputText.hasPrefix("2 shards fetched"))
  }

  @Test func optionsOfEveryVerbMayStandBeforeIt() throws {
    let lake = try LakeFixture.make(.empty)
    let plain = try ProcessRunner.run(["status", "--lake", lake.lake])
    #expect(plain.ending == .exit(0) && !plain.output.isEmpty)
    for early in [["--lake", lake.lake], ["--lake=\(lake.lake)"], ["--quiet", "--lake", lake.lake]] {
      let result = try ProcessRunner.run(early + ["status"])
      #expect(result.ending == .exit(0) && result.outputText == plain.outputText, "\(result.errorText)")
    }
    #expect(try ProcessRunner.run(["--lake", lake.lake, "source", "list"]).ending == .exit(0))
    #expect(try ProcessRunner.run(["--lake", "/nonexistent", "status"]).ending == .exit(10))
  }

  /// Help is broken where the terminal ends and nowhere else, and its examples can be pasted.
  @Test func helpIsFilledAndItsExamplesCanBePasted() throws {
    for verb in [["sync"], ["search"], ["source", "add"], ["build"], ["evaluate"], ["verify"], ["sql"], ["limit"]] {
      let help = try ProcessRunner.run(verb + ["--help"]).outputText
      #expect(help == (try ProcessRunner.run(["help"] + verb)).outputText)
      let prose = try #require(help.components(separatedBy: "\nUSAGE: ").first).components(separatedBy: "\n")
      for (line, next) in zip(prose, prose.dropFirst()) where !line.isEmpty && !next.isEmpty {
        guard line.first != " ", next.first != " ", line != line.uppercased() else { continue }
        let word = next.prefix { $0 != " " }
        #expect(line.count <= 80 && line.count + 1 + word.count > 80, "\(verb): '\(line)' ends early")
      }
      for (line, next) in zip(prose, prose.dropFirst()) where line.hasPrefix("  tarn ") {
        #expect(line.count <= 80 || line.contains("\""), "\(line)")
        #expect(line.hasSuffix(" \\") == next.hasPrefix("      "), "\(line)\n\(next)")
      }
    }
  }

  // MARK: Streams

  @Test func aFullStandardOutputIsTold() throws {
    let lake = try LakeFixture.make(.built)
    for arguments in [["status"], ["versions", "--json"], ["schema"]] {
      let command = ([ProcessRunner.tarn] + arguments + ["--lake", lake.lake]).joined(separator: " ")
      let process = try RunningProcess(
        "/bin/sh", ["-c", "\(command) >/dev/full"], environment: ProcessRunner.environment)
      expectRefusal(process.finish(), 28, ["cannot write to standard output: No space left on device"])
    }
    let closed = try RunningProcess(
      "/bin/sh", ["-c", "\(ProcessRunner.tarn) status --lake \(lake.lake) >&-"], environment: ProcessRunner.environment)
    expectRefusal(closed.finish(), 1, ["cannot write to standard output: Bad file descriptor"])
  }

  /// As coreutils do it: by the signal, and without a word.
  @Test func aReaderThatWentAwayEndsACommandByItsSignal() throws {
    let lake = try LakeFixture.make(.empty)
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    let process = try lake.start(["sql", sql, "--timeout", "0", "--format", "csv"])
    let result = process.finish(readingAtMost: 1 << 20)
    #expect(result.ending == .signal(SIGPIPE) && result.errors.isEmpty, "\(result.ending) \(result.errorText)")
  }

  @Test func statementsAreReadFromStandardInput() throws {
    let lake = try LakeFixture.make(.empty)
    let command = "echo 'SELECT 2 AS two' | \(ProcessRunner.tarn) sql - --format csv --lake \(lake.lake)"
    let process = try RunningProcess("/bin/sh", ["-c", command], environment: ProcessRunner.environment)
    #expect(process.finish().outputText == "two\n2\n")
  }

  @Test func jsonHasWholeDigestsAndTheOrderOfTheSelect() throws {
    let lake = try LakeFixture.make(.built)
    for arguments in [["versions"], ["source", "show", "images"], ["locate", "v@1", "0"]] {
      let text = try lake.succeed(arguments + ["--json"]).outputText
      let digest = try #require(text.firstMatch(of: /"sha256":"([0-9a-f]+)"/))
      #expect(digest.1.count == 64, "\(text)")
    }
    let table = try lake.succeed(["versions"]).outputText
    #expect(table.contains(/\b[0-9a-f]{12}\b/) && !table.contains(/[0-9a-f]{13}/), "\(table)")
    for format in ["json", "jsonl"] {
      let text = try lake.succeed(["sql", "SELECT 2 AS z, 1 AS a, 'x' AS m", "--format", format]).outputText
      #expect(text.contains(#"{"z":2,"a":1,"m":"x"}"#), "\(text)")
    }
  }

  // MARK: Files that users name

  @Test func queriesThatAreNoneAreTheUsersToMend() throws {
    let lake = try LakeFixture.make(.built)
    let good = FeatureBytes.npy(2, dimension: 8, .float32, seed: 1)
    var zero = good
    zero.replaceSubrange(zero.count - 32..<zero.count, with: [UInt8](repeating: 0, count: 32))
    let files: [(String, [UInt8], String)] = [
      ("text.npy", Array("hello\n".utf8), "numpy.save(FILE"), ("cut.npy", Array(good.dropLast(10)), "numpy.save(FILE"),
      ("long.npy", NpyHeader.bytes(descr: "<i8", rowCount: 2, columns: 8) + [UInt8](repeating: 0, count: 128), "<i8"),
      ("zero.npy", zero, "query 1 holds"),
    ]
    for verb in [["search", "v@1"], ["evaluate", "v@1"]] {
      for (name, bytes, fragment) in files {
        let path = try write(bytes, name, lake)
        let result = try lake.run(verb + ["--queries", path])
        expectRefusal(result, 64, [name, fragment])
        #expect(!result.errorText.contains("fetch it again"), "\(result.errorText)")
      }
      expectRefusal(try lake.run(verb + ["--queries", "/nonexistent.npy"]), 64, ["there is no file /nonexistent.npy"])
    }
    let source = ["source", "add", "x", "--url", "http://h/{ordinal}.npy", "--count", "2", "--dimension", "8"]
    expectRefusal(try lake.run(source + ["--sizes", "/nonexistent"]), 21, ["there is no file /nonexistent"])
  }

  @Test func aPlaceThatTakesNoFileIsBlamedItself() throws {
    let lake = try LakeFixture.make(.built)
    expectRefusal(try lake.run(["backup", "/proc/copy.sqlite"]), 1, ["/proc"])
    expectRefusal(try lake.run(["status", "--report", "/proc/page.html"]), 1, ["/proc"])
  }

  @Test func filesThatCannotBeReadAreNotRegistered() throws {
    let lake = try LakeFixture.make(.empty)
    for name in ["{ordinal}.arrow", "{ordinal}.h5", "{ordinal}.tar"] {
      let result = try lake.run([
        "source", "add", "s", "--url", "https://host.example/\(name)", "--count", "2", "--dimension", "8",
      ])
      expectRefusal(result, 64, ["does not read .\(name.split(separator: ".").last ?? "")", ".npy"])
    }
    let directory = lake.directory.path + "/tables"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Data().write(to: URL(fileURLWithPath: directory + "/a.arrow"))
    expectRefusal(
      try lake.run(["source", "add", "s", "--directory", directory, "--dimension", "8"]), 64, ["does not read .arrow"]
    )
  }

  @Test func digestsCanBeCheckedWhereTheFilesAre() throws {
    let lake = try LakeFixture.make(.synced)
    let list = try lake.succeed(["source", "export", "images", "--paths"]).outputText
    let path = try write(Array(list.utf8), "SHA256SUMS", lake)
    let process = try RunningProcess(
      "/usr/bin/sha256sum", ["-c", "--quiet", path], environment: ProcessRunner.environment)
    #expect(process.finish().ending == .exit(0))
    #expect(list.split(separator: "\n").count == FeatureSources.shardCount)
    expectRefusal(try lake.run(["source", "export", "images", "--paths", "--format", "sizes"]), 64, ["--paths"])
  }

  // MARK: What verbs say

  @Test func aRevokedVersionThatWasCollectedSaysSo() throws {
    let lake = try LakeFixture.make(.built)
    try lake.succeed(["revoke", "v@1", "--reason", "test"])
    let picture = lake.directory.path + "/page.html"
    try lake.succeed(["status", "--report", picture])
    #expect(try String(contentsOfFile: picture, encoding: .utf8).contains("v@1 (revoked)"))
    try lake.succeed(["gc", "--apply", "--grace", "0s"])
    let queries = try write(FeatureBytes.npy(2, dimension: 8, seed: 1), "q.npy", lake)
    expectRefusal(
      try lake.run(["search", "v@1", "--queries", queries]), 21, ["was revoked", "collected", "tarn reproduce v@1"])
  }

  @Test func aSourceIsShownWithItsShards() throws {
    let lake = try LakeFixture.make(.registered)
    let lines = try lake.succeed(["source", "show", "images"]).outputText.split(separator: "\n")
    #expect(lines[0] == "images: image, 8 x float16")
    #expect(lines[1].hasPrefix("mirror 0: http://") && lines[1].hasSuffix("/images/img_{ordinal}.npy"))
  }

  @Test func limitsAreChangedByTheVerbAlone() throws {
    #expect(!(try ProcessRunner.run(["limit", "--help"]).outputText.contains("SQL")))
    let lake = try LakeFixture.make(.empty)
    expectRefusal(try lake.run(["limit", "'08:00,5 19:00,off'"]), 64, ["unit"])
    #expect(try lake.succeed(["limit", "5MB/s"]).outputText == "bwlimit 5MB/s\n")
  }

  @Test func damageIsToldWithTheVersionsItHarms() throws {
    let lake = try LakeFixture.make(.built)
    let output = try #require(
      try FileManager.default.subpathsOfDirectory(atPath: lake.lake + "/artifacts/outputs").first {
        $0.hasSuffix(".faiss")
      })
    let path = lake.lake + "/artifacts/outputs/" + output
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
    bytes[bytes.count - 1] ^= 1
    try FileManager.default.removeItem(atPath: path)
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let found = try lake.run(["verify", "--quiet"])
    #expect(found.ending == .exit(20) && found.outputText.contains(" of v@1) "), "\(found.outputText)")
    expectRefusal(try lake.run(["verify", "--repair", "--quiet"]), 20, ["1 damaged or missing, 1 of them restored"])
    #expect(try lake.run(["verify", "--quiet"]).ending == .exit(0))
  }

  @Test func recallsHaveTheirIntervalsBesideThem() throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(4, dimension: 8, seed: 1), "q.npy", lake)
    let page = lake.directory.path + "/page.html"
    let text = try lake.succeed(["evaluate", "v@1", "--queries", queries, "-k", "10", "--report", page]).outputText
    let head = try #require(text.split(separator: "\n").first).split(separator: " ")
    #expect(
      head == [
        "version", "nprobe", "scanned", "recall@1", "±95%", "routing@1", "recall@10", "±95%", "routing@10",
        "queries/s", "shards",
      ])
    let drawn = try String(contentsOfFile: page, encoding: .utf8)
    for part in [">recall@10</text>", ">share of the lists</text>", "<th>±95%</th>", "half of the 95 % interval"] {
      #expect(drawn.contains(part))
    }
  }

  /// A shard that has more rows now: those of the next one have other ids and the same bytes.
  @Test func aShardThatMovedIsNotAChangedOne() throws {
    let lake = try LakeFixture.make(.trained)
    let directory = lake.directory.path + "/files"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    for (name, count) in [("0.npy", 5), ("1.npy", 6)] {
      _ = try write(FeatureBytes.npy(count, dimension: 8, seed: 7), "files/\(name)", lake)
    }
    try lake.succeed(["source", "add", "more", "--directory", directory])
    let build = ["build", "w", "--trained", "t", "--images", "more", "--quiet"]
    try lake.succeed(build)
    _ = try write(FeatureBytes.npy(9, dimension: 8, seed: 8), "files/0.npy", lake)
    try lake.succeed(["sync", "more", "--refresh", "--replace", "--quiet"])
    try lake.succeed(build)
    let text = try lake.succeed(["diff", "w@1", "w@2"]).outputText
    #expect(text.contains("~ 0.npy") && !text.contains("~ 1.npy"), "\(text)")
    #expect(text.contains("same bytes under other row ids: 1 shard, 1.npy first"), "\(text)")
  }

  @Test func oneIsNotSeveral() throws {
    #expect(1.counted("file") == "1 file" && 0.counted("file") == "0 files")
    #expect(2.counted("query", "queries") == "2 queries")
    let lake = try LakeFixture.make(.registered)
    let text = try lake.succeed(["sync", "images", "--shards", "0"]).outputText
    #expect(text.hasPrefix("1 shard fetched"), "\(text)")
  }

  @Test func filesThatWereWrittenAreNamed() throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(2, dimension: 8, seed: 1), "q.npy", lake)
    let stem = lake.directory.path + "/found"
    let said = try lake.succeed(["search", "v@1", "--queries", queries, "--output", stem])
    #expect(said.errorText.contains("\(stem).ids.npy") && said.errorText.contains("2 queries"), "\(said.errorText)")
    let json = try lake.succeed(["search", "v@1", "--queries", queries, "--output", stem, "--json"]).outputText
    #expect(json.contains("\"ids\":\"\(stem).ids.npy\""), "\(json)")
  }

  @Test func aLakeInsideAnotherIsMadeWithAWarning() throws {
    let lake = try LakeFixture.make(.empty)
    let made = try lake.succeed(["init", lake.lake + "/inner"])
    #expect(
      made.errorLines.count == 1 && made.errorText.contains("is inside the lake \(lake.lake)"), "\(made.errorText)")
    #expect(try lake.succeed(["init", lake.directory.path + "/beside"]).errors.isEmpty)
  }

  @Test func neighboursAreRowsForOtherTools() throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(2, dimension: 8, seed: 1), "q.npy", lake)
    let search = ["search", "v@1", "--queries", queries, "-k", "3", "--nprobe", "3"]
    let csv = try lake.succeed(search + ["--format", "csv"]).outputText.split(separator: "\n")
    #expect(csv.count == 7 && csv[0] == "query,rank,id,score,shard,row")
    let lines = try lake.succeed(search + ["--format", "jsonl"]).outputText.split(separator: "\n")
    #expect(lines.count == 6 && lines[3].hasPrefix(#"{"query":1,"rank":1,"id":"#), "\(lines)")
    expectRefusal(try lake.run(search + ["--format", "csv", "--output", "x"]), 64, ["--format does not go with it"])
  }

  /// Files of an answer have -1 where there are fewer rows, and somebody says so.
  @Test func fewerRowsThanWereAskedForAreTold() throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(2, dimension: 8, seed: 1), "q.npy", lake)
    let search = ["search", "v@1", "--queries", queries, "--output", lake.directory.path + "/found"]
    let few = try lake.succeed(search + ["-k", "40", "--nprobe", "1"]).errorText
    #expect(few.contains(" of 2 queries fewer than 40 rows are in the 1 list visited"), "\(few)")
    #expect(few.contains("raise --nprobe"), "\(few)")
    #expect(try lake.succeed(search + ["-k", "40", "--nprobe", "1", "--quiet"]).errors.isEmpty)
    #expect(try !lake.succeed(search + ["-k", "40", "--nprobe", "3"]).errorText.contains("fewer than"))
    let all = try lake.succeed(search + ["-k", "41", "--nprobe", "3"]).errorText
    #expect(all.contains("fewer than 41 rows") && !all.contains("raise --nprobe"), "\(all)")
  }

  /// A number of lists that a version has not is no error, as scripts ask many versions alike, and told.
  @Test func fewerListsThanWereAskedForAreTold() throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(2, dimension: 8, seed: 1), "q.npy", lake)
    let note = "tarn: v@1 has 3 lists, all of which are visited with --nprobe "
    let search = ["search", "v@1", "--queries", queries, "-k", "3"]
    #expect(try lake.succeed(search + ["--nprobe", "64"]).errorLines == [note + "64"])
    for more in [[], ["--nprobe", "3"], ["--nprobe", "64", "--quiet"]] {
      #expect(try lake.succeed(search + more).errors.isEmpty, "\(more)")
    }
    let evaluate = ["evaluate", "v@1", "--queries", queries, "-k", "3", "--json"]
    #expect(try lake.succeed(evaluate + ["--nprobe", "1,9,4"]).errorText.contains(note + "4,9\n"))
    #expect(try !lake.succeed(evaluate).errorText.contains("--nprobe"))
  }

  @Test func waysThatExcludeEachOtherAreToldApart() throws {
    let lake = try LakeFixture.make(.synced)
    let file = try write(Array("0\n".utf8), "ids.txt", lake)
    expectRefusal(
      try lake.run(["exclude", "images", "--ids", file, "--reason", "r", "--confirm"]), 64, ["in one way alone"])
    // A pipe has another way in.
    let pipe = lake.directory.path + "/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    for options in [["--ids", pipe], ["--match", "url", "--values", pipe]] {
      let refused = try lake.run(["exclude", "images", "--reason", "r"] + options)
      expectRefusal(refused, 64, ["is not a regular file", "give - in place of the file"])
    }
  }

  @Test func aNameWithoutQuotesIsNoColumn() throws {
    let lake = try LakeFixture.make(.built)
    for (name, view) in [("images", "v_shard WHERE source"), ("t", "v_trained_index WHERE trained_index")] {
      let said = try lake.run(["sql", "SELECT 1 FROM \(view) = \(name)"])
      expectRefusal(said, 64, ["no such column: \(name)", "'\(name)'"])
    }
    expectRefusal(try lake.run(["sql", "SELECT 1 FROM v_shard WHERE source = nobody"]), 64, ["tarn schema"])
  }

  @Test func idsComeFromFilesAndPipesToo() throws {
    let lake = try LakeFixture.make(.built)
    let expected = try lake.succeed(["locate", "v@1", "0", "39", "--format", "csv"]).outputText
    let path = try write(Array("0\n39\n".utf8), "ids.txt", lake)
    #expect(try lake.succeed(["locate", "v@1", "--ids", path, "--format", "csv"]).outputText == expected)
    // What a search wrote, filled up with -1.
    let (queries, found) = (
      try write(FeatureBytes.npy(2, dimension: 8, seed: 1), "q.npy", lake), lake.directory.path + "/found"
    )
    try lake.succeed(["search", "v@1", "--queries", queries, "-k", "30", "--nprobe", "1", "--output", found])
    let located = try lake.succeed(["locate", "v@1", "--ids", found + ".ids.npy", "--format", "csv"]).outputText
    #expect((2..<61).contains(located.split(separator: "\n").count), "\(located)")
    let one = try write(FeatureBytes.npy(1, dimension: 8, seed: 2), "one.npy", lake)
    try lake.succeed(["search", "v@1", "--queries", one, "-k", "40", "--nprobe", "1", "--output", found])
    try lake.succeed(["locate", "v@1", "--ids", found + ".ids.npy", "--format", "csv"])
    let command = "echo 39 | \(ProcessRunner.tarn) locate v@1 0 --ids - --format csv --lake \(lake.lake)"
    let piped = try RunningProcess("/bin/sh", ["-c", command], environment: ProcessRunner.environment).finish()
    #expect(piped.outputText == expected, "\(piped.errorText)")
    expectRefusal(try lake.run(["locate", "v@1"]), 64, ["--ids"])
    expectRefusal(
      try lake.run(["locate", "v@1", "--ids", try write(Array("x\n".utf8), "bad.txt", lake)]), 64, ["line 1"])
  }

  // MARK: Speed

  @Test func aRateIsOfWhatMoved() throws {
    func look(_ bytes: Double, _ rows: Double) -> LakeLook {
      LakeLook(
        root: "/lake",
        items: [
          .init(kind: .source, name: "s", done: 1, total: 4, amount: bytes, wholeAmount: 4_000, isComplete: false),
          .init(kind: .build, name: "s", done: 1, total: 4, amount: rows, wholeAmount: nil, isComplete: false),
          .init(kind: .source, name: "done", done: 4, total: 4, amount: 9, wholeAmount: 9, isComplete: true),
        ])
    }
    let start = ContinuousClock.now
    var meter = LakeMeter()
    meter.take(look(1_000, 0), at: start)
    let items = try #require(meter.newest).items
    #expect(meter.rate(of: items[0]) == nil && meter.secondsLeft(of: items[0]) == nil)
    meter.take(look(1_500, 70), at: start + .seconds(10))
    let (source, build, done) = (meter.newest!.items[0], meter.newest!.items[1], meter.newest!.items[2])
    #expect(meter.rate(of: source) == 50 && meter.secondsLeft(of: source) == 50)
    #expect(meter.rate(of: build) == 7 && meter.secondsLeft(of: build) == nil)
    #expect(meter.rate(of: done) == nil && meter.secondsLeft(of: done) == nil)
    // What is older than the window is forgotten: a stall shows.
    meter.take(look(1_500, 70), at: start + .seconds(75))
    #expect(meter.rate(of: source) == nil)
  }
}
