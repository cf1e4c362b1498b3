// Who may import whom. The rooms are the directories of Sources; every import line
// of every file is read and held against the rule.

import Testing

/// What a room may import besides itself.
private struct Room {
  /// Other rooms: a room sees those that an arrow of the rule leads to, no further.
  let rooms: Set<String>
  /// Modules of C and of packages that are this room's to use.
  let owned: Set<String>

  init(sees rooms: Set<String>, owns owned: Set<String> = []) {
    self.rooms = rooms
    self.owned = owned
  }
}

/// The rule of DESIGN's section 3.
private enum House {
  static let rule = """
    Base <- Parquet <- {Companions, Features}; Features <- {Fetch, Indexer}; {Base, Migrations} <- Catalog;
    {Features, Fetch, Indexer} <- Tasks; {Catalog, Companions, Features, Fetch, Indexer, Tasks} <- Lake; Base <- Report;
    {Lake, Report} <- Serve; {Lake, Report, Serve} <- CLI. Base may be seen by all. GRDB in Catalog alone, ArgumentParser in
    CLI alone, NIO in Serve alone, C modules where they lie and what reads rows in Indexer too.
    """

  static let rooms: [String: Room] = [
    "Base": Room(sees: [], owns: ["CCpu", "CSha256", "CThreads"]),
    "Features": Room(sees: ["Base", "Parquet"], owns: ["CCpu", "CRows", "CZip"]),
    "Catalog": Room(sees: ["Base", "Migrations"], owns: ["GRDB", "GRDBSQLite"]),
    "Fetch": Room(sees: ["Base", "Features"], owns: ["CChild", "CCurl"]),
    "Indexer": Room(sees: ["Base", "Features"], owns: ["CCpu", "CRows", "CKernels", "CCodec", "CScan"]),
    "Tasks": Room(sees: ["Base", "Features", "Fetch", "Indexer"]),
    "Lake": Room(sees: ["Base", "Catalog", "Companions", "Features", "Fetch", "Indexer", "Tasks"], owns: ["CBuild"]),
    "Parquet": Room(sees: ["Base"], owns: ["CParquet"]),
    "Companions": Room(sees: ["Base", "Parquet"], owns: ["CUnpack"]),
    "Report": Room(sees: ["Base"]),
    "Serve": Room(sees: ["Base", "Lake", "Report"], owns: ["NIOCore", "NIOHTTP1", "NIOPosix"]),
    "CLI": Room(sees: ["Base", "Lake", "Report", "Serve"], owns: ["ArgumentParser"]),
  ]

  /// Modules that everybody may import.
  static let common: Set<String> = ["Foundation", "Dispatch", "Glibc", "Synchronization", "Logging"]

  /// What is wrong with the imports of a file, a line each.
  static func violations(_ file: SourceFile) -> (importCount: Int, wrong: [String]) {
    guard let name = file.directory(1), let room = rooms[name] else {
      return (0, ["\(file.path): lies in no room"])
    }
    let allowed = room.rooms.union(room.owned).union(common)
    let imports = file.matches(
      /(?m)^[ \t]*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias|actor)\s+)?(\w+)/
    )
    let wrong = imports.filter { !allowed.contains(String($0.match.1)) }
    return (imports.count, wrong.map { "\(file.path):\($0.line): \(name) imports \($0.match.1)" })
  }
}

@Suite struct ImportTests {
  @Test func everyRoomImportsWhatTheRuleAllows() throws {
    let files = try SourceTree.swiftSources()
    let found = files.map(House.violations)
    let wrong = found.flatMap(\.wrong)
    print("house: \(House.rule)")
    print("house: \(files.count) files, \(found.reduce(0) { $0 + $1.importCount }) imports, \(wrong.count) against it")
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
    #expect(found.reduce(0) { $0 + $1.importCount } > files.count, "imports are not seen")
  }

  @Test(arguments: [
    ("Sources/Fetch/Transport/Curl.swift", "internal import GRDB", 1),
    ("Sources/Indexer/Training/Sample.swift", "import Foundation\n  @preconcurrency package import Catalog // rows", 1),
    ("Sources/Indexer/Training/Sample.swift", "// internal import Catalog\n/* import Fetch */ internal import Base", 0),
    ("Sources/CLI/Verbs/Sync.swift", "internal import struct Fetch.RateTimetable\nimport Catalog", 2),
    ("Sources/Base/Disk.swift", "internal import CSha256", 0),
    ("Sources/Catalog/Rows/Row.swift", "internal import CSha256", 1),
    ("Sources/Other/Server.swift", "", 1),
  ])
  func aWrongImportIsSeen(path: String, text: String, count: Int) {
    #expect(House.violations(SourceFile(path: path, text: text)).wrong.count == count)
  }

  /// The targets say the same as the import lines: a room cannot be linked with
  /// what it must not see.
  @Test func designStatesTheRule() throws {
    let design = try SourceTree.file("docs/DESIGN.md").text
    for room in House.rooms.keys { #expect(design.contains("Sources/\(room)/"), "\(room) is not in DESIGN") }
    #expect(try SourceTree.swiftSources().allSatisfy { House.rooms[$0.directory(1) ?? ""] != nil })
    #expect(Set(try SourceTree.swiftSources().compactMap { $0.directory(1) }) == Set(House.rooms.keys))
  }
}
