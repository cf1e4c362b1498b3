// Who may import whom. The modules are the directories of Sources; every import line
// of every file is read and held against the rule.

import Testing

/// What a module may import besides itself.
private struct AllowedImports {
  /// Other modules of Sources: those that an arrow of the rule leads to, no further.
  let modules: Set<String>
  /// Modules of C and of packages that are this module's to use.
  let owned: Set<String>

  init(sees modules: Set<String>, owns owned: Set<String> = []) {
    self.modules = modules
    self.owned = owned
  }
}

/// The rule of DESIGN's section 3.
private enum ImportRule {
  static let text = """
    Base <- Parquet <- {Companions, Features}; Features <- {Fetch, Indexer}; {Base, Migrations} <- Catalog;
    {Features, Fetch, Indexer} <- Tasks; {Catalog, Companions, Features, Fetch, Indexer, Tasks} <- Lake; Base <- Report;
    {Lake, Report} <- Serve; {Lake, Report, Serve} <- CLI. Base may be seen by all. GRDB in Catalog alone, ArgumentParser in
    CLI alone, NIO in Serve alone, C modules where they lie and what reads rows in Indexer too.
    """

  static let modules: [String: AllowedImports] = [
    "Base": AllowedImports(sees: [], owns: ["CChild", "CCpu", "CSha256", "CThreads"]),
    "Features": AllowedImports(sees: ["Base", "Parquet"], owns: ["CCpu", "CRows", "CZip"]),
    "Catalog": AllowedImports(sees: ["Base", "Migrations"], owns: ["GRDB", "GRDBSQLite"]),
    "Fetch": AllowedImports(sees: ["Base", "Features"], owns: ["CCurl"]),
    "Indexer": AllowedImports(sees: ["Base", "Features"], owns: ["CCpu", "CRows", "CKernels", "CCodec", "CScan"]),
    "Tasks": AllowedImports(sees: ["Base", "Features", "Fetch", "Indexer"]),
    "Lake": AllowedImports(
      sees: ["Base", "Catalog", "Companions", "Features", "Fetch", "Indexer", "Tasks"], owns: ["CBuild"]),
    "Parquet": AllowedImports(sees: ["Base"], owns: ["CParquet"]),
    "Companions": AllowedImports(sees: ["Base", "Parquet"], owns: ["CUnpack"]),
    "Report": AllowedImports(sees: ["Base"]),
    "Serve": AllowedImports(sees: ["Base", "Lake", "Report"], owns: ["NIOCore", "NIOHTTP1", "NIOPosix"]),
    "CLI": AllowedImports(sees: ["Base", "Lake", "Report", "Serve"], owns: ["ArgumentParser"]),
  ]

  /// Modules that everybody may import.
  static let common: Set<String> = ["Foundation", "Dispatch", "Glibc", "Synchronization", "Logging"]

  /// What is wrong with the imports of a file, a line each.
  static func violations(_ file: SourceFile) -> (importCount: Int, wrong: [String]) {
    guard let name = file.directory(1), let module = modules[name] else {
      return (0, ["\(file.path): lies in no module"])
    }
    let allowed = module.modules.union(module.owned).union(common)
    let imports = file.matches(
      /(?m)^[ \t]*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias|actor)\s+)?(\w+)/
    )
    let wrong = imports.filter { !allowed.contains(String($0.match.1)) }
    return (imports.count, wrong.map { "\(file.path):\($0.line): \(name) imports \($0.match.1)" })
  }
}

@Suite struct ImportTests {
  @Test func everyModuleImportsWhatTheRuleAllows() throws {
    let files = try SourceTree.swiftSources()
    let found = files.map(ImportRule.violations)
    let wrong = found.flatMap(\.wrong)
    print("imports: \(ImportRule.text)")
    print(
      "imports: \(files.count) files, \(found.reduce(0) { $0 + $1.importCount }) imports, \(wrong.count) against it")
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
    #expect(ImportRule.violations(SourceFile(path: path, text: text)).wrong.count == count)
  }

  /// The targets say the same as the import lines: a module cannot be linked with
  /// what it must not see.
  @Test func designStatesTheRule() throws {
    let design = try SourceTree.file("docs/DESIGN.md").text
    for module in ImportRule.modules.keys {
      #expect(design.contains("Sources/\(module)/"), "\(module) is not in DESIGN")
    }
    #expect(try SourceTree.swiftSources().allSatisfy { ImportRule.modules[$0.directory(1) ?? ""] != nil })
    #expect(Set(try SourceTree.swiftSources().compactMap { $0.directory(1) }) == Set(ImportRule.modules.keys))
  }
}
