import Base
import Testing

@Suite struct PathPartsTests {
  @Test func partsAreThoseOfTheKernel() {
    let cases: [(path: String, parent: String, last: String)] = [
      ("/a/b", "/a", "b"), ("/a", "/", "a"), ("a", "", "a"), ("a/b/", "a", "b"), ("//a//b//", "//a", "b"),
      ("/", "/", ""),
      ("", "", ""), ("/a/\u{301}x.npy", "/a", "\u{301}x.npy"), ("a\u{301}/b", "a\u{301}", "b"), ("/a/..", "/a", ".."),
    ]
    for (path, parent, last) in cases {
      #expect(Array(path.parentPath.utf8) == Array(parent.utf8), "\(path.debugDescription)")
      #expect(Array(path.lastPathPart.utf8) == Array(last.utf8), "\(path.debugDescription)")
    }
  }

  @Test func namesHaveAStemAndAnEnding() {
    let cases: [(name: String, stem: String, ending: String)] = [
      ("a.npy", "a", ".npy"), ("a", "a", ""), ("a.b.npy", "a.b", ".npy"), (".npy", ".npy", ""), ("a.", "a.", ""),
      ("a.\u{301}npy", "a", ".\u{301}npy"), ("a b.n y", "a b", ".n y"),
    ]
    for (name, stem, ending) in cases {
      #expect(Array(name.nameParts.stem.utf8) == Array(stem.utf8), "\(name.debugDescription)")
      #expect(Array(name.nameParts.ending.utf8) == Array(ending.utf8), "\(name.debugDescription)")
    }
  }
}
