// One door for what is printed, one for files that are read whole.

import Testing

@Suite struct OutputDoorTests {
  /// Text leaves the process through Output, which makes it fit for a terminal.
  @Test func onlyTheDoorWritesToTheStreams() throws {
    let door = "Sources/CLI/Support/Output.swift"
    // A process of its own, whose words tarn takes for a stranger's.
    let helper = "Sources/Indexer/CAdopt/main.cpp"
    var wrong: [String] = []
    for file in try SourceTree.sources.get() where ![door, helper].contains(file.path) {
      let calls =
        /(?:^|[^.\w])(func )?(print|debugPrint|dump|putchar|puts|fputs|fputc|fwrite|printf|vprintf|fprintf|vfprintf|perror|NSLog)\(/
      for place in file.matches(calls) where place.match.1 == nil {
        wrong.append("\(file.path):\(place.line): \(place.match.2)(")
      }
      let streams =
        /(isatty\(|ioctl\()?\b(STDOUT_FILENO|STDERR_FILENO|FileHandle\.standard\w+|exit\(withError|fdopen\()/
      for place in file.matches(streams) where place.match.1 == nil {
        wrong.append("\(file.path):\(place.line): \(place.match.2)")
      }
    }
    #expect(try SourceTree.file(door).code.contains("STDOUT_FILENO"), "the door is not seen")
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  /// Escape sequences for the terminal are written in the door alone.
  @Test func onlyTheDoorKnowsEscapes() throws {
    let knowing = try SourceTree.swiftSources().filter { !$0.matches(/\\u\{1[Bb]\}|\\u\{9[Bb]\}/).isEmpty }
    #expect(knowing.map(\.path) == ["Sources/CLI/Support/Output.swift"])
  }

  /// Whether `--quiet` leaves something out is decided where it is said: by `note`, which is silent then, or `warn`.
  @Test func warningsThatAreAlwaysSaidHaveOneDoor() throws {
    var wrong: [String] = []
    for file in try SourceTree.swiftSources() where file.path != "Sources/CLI/Support/Output.swift" {
      for place in file.matches(/diagnostic\(\s*"tarn: warning/) { wrong.append("\(file.path):\(place.line)") }
    }
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  /// Files are read whole through the one reader that takes regular files alone, does
  /// not wait for pipes, and has a limit.
  @Test func onlyOneReaderReadsWholeFiles() throws {
    // A saved state is tarn's own, and mapped.
    let exempt = ["Sources/Indexer/Training/StateFile.swift"]
    var wrong: [String] = []
    for file in try SourceTree.swiftSources() where !exempt.contains(file.path) {
      for place in file.matches(/contentsOfFile:|contents\(atPath:|Data\(contentsOf:|FileHandle\(/) {
        wrong.append("\(file.path):\(place.line): \(place.match.0)")
      }
    }
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  /// A file that is opened for reading is opened without waiting: its name may be that
  /// of a pipe.
  @Test func noFileIsWaitedFor() throws {
    // The lake's own: artifacts, catalogs, directories.
    let exempt = [
      "Sources/Indexer/Search/MappedFile.swift", "Sources/Catalog/Upkeep/LakeCatalog+Backup.swift",
    ]
    var wrong: [String] = []
    var count = 0
    for file in try SourceTree.swiftSources() where !exempt.contains(file.path) {
      for place in file.matches(/\bopen\([^\n]*O_RD(?:ONLY|WR)[^\n]*/) {
        count += 1
        guard place.match.0.contains(/O_NONBLOCK|O_DIRECTORY|O_CREAT/) else {
          wrong.append("\(file.path):\(place.line): \(place.match.0)")
          continue
        }
      }
    }
    #expect(count > 4, "calls are not seen")
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }
}
