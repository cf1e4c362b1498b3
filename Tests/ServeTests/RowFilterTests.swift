// Filters that a server keeps: within bounds, the last used ones, and never searched with as another.

import Lake
import Serve
import Testing

@Suite struct RowFilterTests {
  private func key(_ text: String) throws -> RowFilters.Key {
    RowFilters.Key(version: try VersionName(parsing: "v@1"), condition: try WhereCondition(parsing: text))
  }

  private func filter(_ ids: Int64...) -> RowFilter {
    var rows = RowSubset()
    for id in ids { rows.insert(id) }
    return RowFilter(rows)
  }

  @Test func theLastUsedOnesAreKept() throws {
    let filters = RowFilters(mostCount: 3, mostByteCount: 1 << 30)
    for number in 0..<3 { filters.keep(filter(Int64(number)), for: try key("n = \(number)")) }
    #expect(filters.kept(try key("n = 0"))?.rows.allows(0) == true)
    filters.keep(filter(3), for: try key("n = 3"))
    #expect(try filters.kept(key("n=1")) == nil)
    // Written in another way it is the same, and of another version not.
    #expect(try filters.kept(key("(n = 2)")) != nil)
    let other = RowFilters.Key(
      version: try VersionName(parsing: "v@2"), condition: try WhereCondition(parsing: "n = 2"))
    #expect(filters.kept(other) == nil)
    #expect(filters.statistics.count == 3 && filters.statistics.made == 4 && filters.statistics.hits == 2)
  }

  @Test func bytesAreBounded() throws {
    let one = filter(1).rows.byteCount
    #expect(one >= 8192)
    let filters = RowFilters(mostCount: 100, mostByteCount: 3 * (one + 400))
    for number in 0..<20 {
      filters.keep(filter(Int64(number)), for: try key("n = \(number)"))
      #expect(filters.statistics.byteCount <= 3 * (one + 400))
    }
    #expect(filters.statistics.count == 3)
    filters.keep(filter(19, 18), for: try key("n = 19"))
    #expect(filters.statistics.count == 3)
    var large = RowSubset()
    for block in 0..<100 { large.insert(Int64(block) << 16) }
    filters.keep(RowFilter(large), for: try key("n > 0"))
    #expect(try filters.kept(key("n > 0")) == nil && filters.statistics.count == 3)
  }

  @Test func anotherFilterIsAnotherBatch() {
    var queue = QuestionQueue(limit: 100)
    let (one, other) = (filter(1), filter(1))
    let version = SearchedVersion { _, _, _, _, _, _ in throw TarnError(.temporary, "nothing is searched here") }
    func question(_ filter: RowFilter?) -> Question {
      Question(
        version: version, vectors: [1], count: 1, k: 10, nprobe: 8, filter: filter, deadline: .now, isGone: { false },
        reply: { _ in })
    }
    for filter in [one, nil, one, other, nil] {
      let isTaken = queue.append(question(filter))
      #expect(isTaken)
    }
    let counts = (0..<3).map { _ in queue.take(atMost: 9).count }
    #expect(counts == [2, 2, 1])
  }

  /// Rows that are hidden later leave a filter that was made before, and come back.
  @Test func whatIsHiddenIsNotFoundByAConditionEither() {
    let filter = filter(1, 5, 70_000)
    func hiding(_ ids: Int64...) -> RowSubset {
      var hidden = RowSubset(excluding: true)
      for id in ids { hidden.insert(id) }
      return hidden
    }
    #expect(filter.rows(hiding: nil).ids == [1, 5, 70_000])
    for _ in 0..<2 { #expect(filter.rows(hiding: hiding(2, 5)).ids == [1, 70_000]) }
    #expect(filter.rows(hiding: hiding(70_000)).ids == [1, 5])
    #expect(!filter.rows(hiding: hiding(70_000)).isExcluding)
  }
}
