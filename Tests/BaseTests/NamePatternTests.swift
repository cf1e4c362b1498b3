import Base
import Foundation
import Testing

@Suite struct NamePatternTests {
  @Test(arguments: [
    ("*.npz", "a.npz", true), ("*.npz", "shards/deep/a.npz", true), ("*.npz", "a.parquet", false),
    ("*.npz", "a.npz.part", false), ("shards/*.npy", "shards/a.npy", true),
    ("shards/*.npy", "shards/deep/a.npy", false),
    ("shards/**/*.npy", "shards/deep/er/a.npy", true), ("shards/**/*.npy", "shards/a.npy", true),
    ("**/a.npy", "a.npy", true), ("**/a.npy", "ba.npy", false), ("**/a.npy", "x/y/a.npy", true),
    ("sh**/y.npy", "sh/x/y.npy", true),
    ("?.npy", "é.npy", true), ("?.npy", "ab.npy", false), ("a?b/c", "a/b/c", false), ("[a].npy", "[a].npy", true),
    ("*", ".hidden", true), ("img_*_??.npy", "img_0_01.npy", true),
  ])
  func aPatternChoosesNames(pattern: String, name: String, isOf: Bool) throws {
    #expect(try NamePattern(parsing: pattern).matches(name) == isOf, "\(pattern) \(name)")
  }

  @Test(arguments: ["", "\u{7}", String(repeating: "a", count: 2_000)])
  func whatIsNoPatternIsRefused(text: String) {
    #expect(throws: TarnError.self) { try NamePattern(parsing: text) }
  }

  /// The meaning, written down once more and slowly.
  private func matches(_ pattern: Substring, _ name: Substring, afterSlash: Bool = true) -> Bool {
    guard let first = pattern.first else { return name.isEmpty }
    let rest = pattern.dropFirst()
    if pattern.hasPrefix("**/"), afterSlash {
      if matches(pattern.dropFirst(3), name) { return true }
      guard let slash = name.firstIndex(of: "/") else { return false }
      return matches(pattern, name[name.index(after: slash)...])
    }
    if pattern.hasPrefix("**") {
      // No slash stands before what follows, whatever this took.
      return matches(pattern.dropFirst(2), name, afterSlash: false)
        || !name.isEmpty && matches(pattern, name.dropFirst(), afterSlash: false)
    }
    switch first {
    case "*":
      return matches(rest, name, afterSlash: false)
        || name.first.map { $0 != "/" && matches(pattern, name.dropFirst(), afterSlash: false) } ?? false
    case "?": return name.first.map { $0 != "/" && matches(rest, name.dropFirst(), afterSlash: false) } ?? false
    default: return name.first == first && matches(rest, name.dropFirst(), afterSlash: first == "/")
    }
  }

  @Test func everyShortPatternMeansWhatItSays() throws {
    var random = SplitMix64(seed: 17)
    func text(_ alphabet: [Character], _ count: Int) -> String {
      String((0..<count).map { _ in alphabet[Int(random.next() % UInt64(alphabet.count))] })
    }
    var foundCount = 0
    for _ in 0..<40_000 {
      // With a slash: held against all of the name. Three stars are two.
      var pattern = text(["a", "b", "*", "*", "?", "/"], 7) + "/a"
      while pattern.contains("***") { pattern.replace("***", with: "**") }
      let name = text(["a", "b", "/"], 6) + "/a"
      let isOf = matches(Substring(pattern), Substring(name))
      foundCount += isOf ? 1 : 0
      #expect(try NamePattern(parsing: pattern).matches(name) == isOf, "\(pattern) \(name)")
    }
    #expect(foundCount > 200)
  }
}
