// A listing held against a source that is there: what is new, gone, elsewhere and changed.

import Base
import Lake
import Testing

@Suite struct ListingComparisonTests {
  private typealias Known = ListingComparison.Known

  private func digest(_ text: String) -> ContentDigest { .of(text) }

  private func file(_ path: String, _ bytes: String?, _ byteCount: Int = 10) -> ListedFile {
    ListedFile(path: path, byteCount: byteCount, digest: bytes.map(digest))
  }

  private func known(_ path: String, _ bytes: String?, _ byteCount: Int? = 10, isDropped: Bool = false) -> Known {
    Known(
      name: path.lastPathPart, path: path, byteCount: byteCount, digest: bytes.map(digest), isDropped: isDropped)
  }

  @Test func eachShardIsThereGoneElsewhereOrChanged() {
    let found = ListingComparison(
      [known("d/a", "A"), known("d/b", "B"), known("d/c", "C"), known("d/d", "D"), known("d/e", "E")],
      with: [file("d/a", "A"), file("d/c2", "C"), file("d/d", "other"), file("e/e", "E"), file("d/new", "N")])
    #expect(found.added.map(\.path) == ["d/new"])
    #expect(found.gone == [1])
    #expect(found.moved.map { "\($0.ordinal) \($0.file.path)" } == ["2 d/c2", "4 e/e"])
    #expect(found.changed.map { "\($0.ordinal) \($0.file.path)" } == ["3 d/d"])
  }

  /// Sizes are often all the same: nothing is taken for another by its size alone.
  @Test func aSizeAloneMakesNoOneTheSame() {
    let found = ListingComparison([known("d/a", nil), known("d/b", nil)], with: [file("d/x", nil), file("e/b", nil)])
    #expect(found.added.map(\.path) == ["d/x"])
    #expect(found.gone == [0])
    #expect(found.moved.map(\.ordinal) == [1])
  }

  @Test func aNameWithOtherBytesElsewhereIsChangedAndAdoptsNoNewOne() {
    let found = ListingComparison([known("d/a", "A", 10)], with: [file("e/a", "other", 20)])
    #expect(found.added.isEmpty && found.gone.isEmpty && found.moved.isEmpty)
    #expect(found.changed.map(\.ordinal) == [0])
  }

  @Test func whatIsNotKnownSpeaksAgainstNothing() {
    let found = ListingComparison([known("d/a", nil, nil)], with: [file("d/a", "A")])
    #expect(found.changed.isEmpty && found.added.isEmpty && found.gone.isEmpty)
  }

  @Test func aDroppedShardIsNeitherNewNorGone() {
    let found = ListingComparison(
      [known("d/a", "A", isDropped: true), known("d/b", "B", isDropped: true)], with: [file("d/a", "other")])
    #expect(found.added.isEmpty && found.gone.isEmpty && found.changed.isEmpty)
  }

  @Test func everyFileAndEveryShardIsAccountedForOnce() {
    var random = SplitMix64(seed: 18)
    func pick<Value>(_ values: [Value]) -> Value { values[Int(random.next() % UInt64(values.count))] }
    for _ in 0..<3_000 {
      var paths: Set<String> = []
      func path() -> String { "\(pick(["d", "e"]))/\(pick(["a", "b", "c", "x", "y"]))" }
      func bytes() -> String? { pick(["A", "B", "C", nil]) }
      let shards = (0..<Int(random.next() % 6)).compactMap { _ -> Known? in
        let path = path()
        guard paths.insert(path.lastPathPart).inserted else { return nil }
        return known(path, bytes(), pick([10, 20, nil]), isDropped: random.next() % 5 == 0)
      }
      paths = []
      let files = (0..<Int(random.next() % 6)).compactMap { _ -> ListedFile? in
        let path = path()
        return paths.insert(path).inserted ? file(path, bytes(), pick([10, 20])) : nil
      }
      let found = ListingComparison(shards, with: files)
      let own = files.filter { file in shards.contains { $0.path == file.path } }
      let elsewhere = (found.moved + found.changed).map(\.file.path).filter { path in !own.contains { $0.path == path }
      }
      #expect(Set(own.map(\.path)).union(found.added.map(\.path)).union(elsewhere) == Set(files.map(\.path)))
      #expect(own.count + found.added.count + elsewhere.count == files.count)
      let stayed = shards.indices.filter { ordinal in files.contains { $0.path == shards[ordinal].path } }
      let left = shards.indices.filter { !shards[$0].isDropped && !stayed.contains($0) }
      let met = (found.moved + found.changed).map(\.ordinal).filter { !stayed.contains($0) }
      #expect((found.gone + met).sorted() == left)
      // Same bytes under another name are never added.
      for file in found.added {
        #expect(!found.gone.contains { shards[$0].digest != nil && shards[$0].digest == file.digest })
      }
      for pair in found.moved {
        let shard = shards[pair.ordinal]
        #expect(shard.path != pair.file.path)
        #expect(shard.digest == nil || pair.file.digest == nil || shard.digest == pair.file.digest)
      }
    }
  }
}
