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
}
