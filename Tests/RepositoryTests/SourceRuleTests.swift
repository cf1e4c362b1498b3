// Rules that the sources keep and no compiler checks.

import Testing

@Suite struct SourceRuleTests {
  /// Dependencies in exact versions: a clone of any day builds the same program.
  @Test func packagesAreOfExactVersions() throws {
    let manifest = try SourceTree.file("Package.swift")
    let packages = manifest.matches(/\.package\((.*)\)/)
    #expect(!packages.isEmpty)
    for package in packages { #expect(package.match.1.contains("exact: "), "\(package.match.1)") }
  }

  /// Files stay so short that one can be read at a sitting.
  @Test func noFileIsLong() throws {
    for file in try SourceTree.sources.get() + SourceTree.files(in: "Tests", ".swift", ".py") {
      let count = file.text.count { $0 == "\n" }
      #expect(count <= 550, "\(file.path) has \(count) lines")
    }
  }

  /// Tests open a catalog of their own accord with a connection that waits for locks.
  @Test func testsWaitForLocks() throws {
    let door = "Tests/TestSupport/CatalogFile.swift"
    for file in try SourceTree.files(in: "Tests", ".swift") where file.path != door {
      let opened = file.matches(/Database(?:Queue|Pool)\(path:/).map { "\(file.path):\($0.line)" }
      #expect(opened.isEmpty, "\(opened.joined(separator: ", ")): CatalogFile.open")
    }
  }

  /// A program that a test writes itself may be busy when it is run.
  @Test func testsMakeProgramsThroughOneDoor() throws {
    for file in try SourceTree.files(in: "Tests", ".swift") {
      let made = file.matches(/0o7[0-7]{2}\b|copyItem\(atPath: ProcessRunner/).map { "\(file.path):\($0.line)" }
      #expect(made.isEmpty, "\(made.joined(separator: ", ")): ExecutableFile")
    }
  }

  /// Paths that the system says are bytes: one place makes text of them, or refuses.
  @Test func onlyOneFileAsksTheSystemForPaths() throws {
    let door = "Sources/Base/Files/SystemPath.swift"
    for file in try SourceTree.swiftSources() where file.path != door {
      let asked = file.matches(/currentDirectoryPath|\brealpath\(|\bgetcwd\(|proc\/self\/exe/).map {
        "\(file.path):\($0.line)"
      }
      #expect(asked.isEmpty, "\(asked.joined(separator: ", ")): SystemPath")
    }
  }

  /// One place lays columns of text out, and one runs the tool that benchmarks measure.
  @Test func whatIsDoneOftenIsDoneInOnePlace() throws {
    func places(_ files: [SourceFile], _ pattern: Regex<Substring>) -> [String] {
      files.filter { !$0.matches(pattern).isEmpty }.map(\.path)
    }
    #expect(
      places(try SourceTree.swiftSources(), /String\(repeating: " ", count:/) == ["Sources/Base/Text/TextColumns.swift"]
    )
    let benchmarks = try SourceTree.files(in: "Tests", ".py").filter { $0.path.hasPrefix("Tests/Benchmarks/") }
    #expect(benchmarks.count > 5)
    #expect(
      places(benchmarks, /def tarn\(|environ\.get\("TARN",.*release/).filter { !$0.hasSuffix("/bench_startup.py") }
        == ["Tests/Benchmarks/python/tool.py"])
  }

  /// The number of a file format stands in one constant: in a module, a number has one name.
  @Test func aFormatHasOneNumber() throws {
    var places: [String: [String]] = [:]
    for file in try SourceTree.swiftSources() {
      for constant in file.matches(/\blet (\w*[vV]ersion\w*)(?:\s*:\s*\w+)?\s*=\s*([0-9]+)/) {
        let number = "\(file.directory(1) ?? "") \(constant.match.2)"
        places[number, default: []].append("\(constant.match.1) in \(file.path):\(constant.line)")
      }
    }
    #expect(!places.isEmpty, "constants are not seen")
    for places in places.values { #expect(places.count == 1, "\(places.joined(separator: ", ")) may be one fact") }
  }

  /// Paths below `artifacts/` are spelled in the artifact store and in the catalog,
  /// which keeps them; the layout gives both their directory.
  @Test func onlyTheArtifactStoreBuildsPathsOfArtifacts() throws {
    let owners = ["LakeLayout.swift", "ArtifactStore.swift", "LakeCatalog+StoredBytes.swift"]
    var wrong: [String] = []
    for file in try SourceTree.swiftSources()
    where !owners.contains(where: { file.path.hasSuffix("/" + $0) }) {
      for place in file.matches(/\.artifacts\s*\+|\.artifacts\)\/|\bartifactPath\(|\bartifactScratch\b|"artifacts\//) {
        wrong.append("\(file.path):\(place.line): \(place.match.0)")
      }
    }
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  /// What sets a codec apart stands in one table.
  @Test func onlyTheTableOfCodecsTellsThemApart() throws {
    let table = try SourceTree.file("Sources/Indexer/Codec/VectorCodec.swift")
    let names = table.matches(/(?m)^  case (\w+)$/).map { String($0.match.1) }
    #expect(names.count >= 4, "codecs are not seen")
    let apart = try Regex("(?:case|[=!]=) \\.(?:\(names.joined(separator: "|")))\\b")
    var wrong: [String] = []
    for file in try SourceTree.swiftSources() where file.path != table.path {
      wrong += file.matches(apart).map { "\(file.path):\($0.line): \($0.match[0].substring ?? "")" }
    }
    #expect(table.matches(apart).count == names.count)
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  /// One place asks the CPU what it can do.
  @Test func onlyOneFileAsksTheCPU() throws {
    let asking = try SourceTree.sources.get().filter { !$0.matches(/__builtin_cpu_|\bcpuid|getauxval|hwcap/).isEmpty }
    #expect(asking.map(\.path) == ["Sources/Base/CCpu/cpu.c"])
  }

  /// One place starts programs: what they inherit, and that nothing of them is left, is its.
  @Test func onlyOneFileStartsPrograms() throws {
    let calls = /\bProcess\(\)|\bProcess\.run\(|\bposix_spawnp?\(|\bv?fork\(\)|\bexec[lv]p?e?\(|\b(?:popen|system)\(/
    let starting = try SourceTree.sources.get().filter { !$0.matches(calls).isEmpty }
    #expect(starting.map(\.path) == ["Sources/Base/CChild/child.c"])
    let asking = try SourceTree.swiftSources().filter { !$0.matches(/\bcchild_start\(/).isEmpty }
    #expect(asking.map(\.path) == ["Sources/Base/ChildProcess.swift"])
  }

  /// A fault can be put before every call that makes bytes or names durable, so that
  /// the crash loops reach it.
  @Test func everyDurableStepCanFail() throws {
    // The lock says who holds it, to people; nothing depends on that text.
    let exempt = ["WriterLock.swift"]
    var wrong: [String] = []
    var count = 0
    for file in try SourceTree.swiftSources() where !exempt.contains(where: { file.path.hasSuffix("/" + $0) }) {
      let lines = file.code.split(separator: "\n", omittingEmptySubsequences: false)
      let calls = /(?:^|[^\w.])(?:fsync|fdatasync|rename|link|symlink|mkdir|rmdir|pwrite)\(/
      for (index, line) in lines.enumerated() where line.contains(calls) && !line.contains("func ") {
        count += 1
        if !lines[max(0, index - 25)...index].contains(where: { $0.contains("FaultPlan.step(") }) {
          wrong.append("\(file.path):\(index + 1): \(line.trimmingPrefix(/\s+/))")
        }
      }
    }
    #expect(count > 5, "calls are not seen")
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  /// A command says its name: those that are worked out from types, of every verb at every
  /// start, cost a seventh of it.
  @Test func commandsSayTheirNames() throws {
    for file in try SourceTree.files(in: "Sources/CLI", ".swift") {
      let silent = file.matches(/CommandConfiguration\(\s*(?!commandName:)\w/).map { "\(file.path):\($0.line)" }
      #expect(silent.isEmpty, "\(silent.joined(separator: ", ")): commandName")
    }
  }

  /// What nothing in the product uses goes, whatever tests use it.
  @Test func everyDeclarationIsUsed() throws {
    // Named by a protocol of Swift's, or a window for tests and benchmarks on what is hidden.
    let exempt: Set<String> = [
      "CodingKeys", "customMirror", "s3Address", "selfTestDuration", "int8SelfTestSeesSpoiledRows",
      "ckernels_cascade_products", "ckernels_form_products", "ckernels_form_range",
      // Named by protocols of SwiftNIO's.
      "InboundIn", "OutboundIn", "OutboundOut", "channelActive", "channelInactive", "channelRead", "errorCaught",
    ]
    let files = try SourceTree.sources.get()
    var uses: [Substring: Int] = [:]
    for file in files {
      for word in SourceFile.words(of: file.code[...]) { uses[word, default: 0] += 1 }
    }
    var unused: [String] = []
    for file in files where file.path.hasSuffix(".swift") {
      for (index, line) in file.code.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
      where SourceFile.words(of: line).contains(where: { uses[$0] == 1 }) {
        for name in line.matches(
          of: /\b(?:func|var|let|struct|enum|class|actor|protocol|typealias)\s+([a-zA-Z]\w*)/)
        where uses[name.1] == 1 && !exempt.contains(String(name.1)) {
          unused.append("\(file.path):\(index + 1): \(name.1)")
        }
      }
    }
    for file in files where file.path.contains("/include/") && !file.path.contains("/CFaiss/") {
      let target = file.path.prefix(upTo: file.path.firstRange(of: "/include/")?.lowerBound ?? file.path.endIndex)
      let others = files.filter { !$0.path.hasPrefix(target + "/") }
      for name in file.matches(/\b(c[a-z0-9]+_\w+)\s*\(/) where !exempt.contains(String(name.match.1)) {
        if !others.contains(where: { $0.code.contains(name.match.1) }) {
          unused.append("\(file.path):\(name.line): \(name.match.1)")
        }
      }
    }
    #expect(unused.isEmpty, "\(unused.joined(separator: "\n"))")
  }
}
