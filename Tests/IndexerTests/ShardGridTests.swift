// Squares for shards: as many as there are, or as may be drawn.

import Foundation
import Report
import Testing

@Suite struct ShardGridTests {
  @Test(arguments: [(1, 40), (40, 40), (41, 40), (76_000, 600), (76_000, 2400)])
  func manyShardsShareTheSquaresThatMayBeDrawn(shards: Int, most: Int) {
    let states = (0..<shards).map { $0 == shards - 1 ? "failed" : "present" }
    let drawn = ShardGrid(title: "images", states: states, squares: most).section
    let count = drawn.components(separatedBy: "<rect ").count - 1
    #expect(count <= most && count >= min(shards, most / 2), "\(count)")
    // None is left out, and the worst of those that share a square shows.
    #expect(drawn.contains("\(shards - 1): failed</title>") && drawn.contains(">1 failed: "))
  }

  /// A page that is asked for every two seconds stays small, however many sources a lake has.
  @Test(arguments: [0, 1, 7, 30, 1_000, 1_200, 1_300]) func manySourcesShareTheSquaresToo(sources: Int) {
    let states = [String](repeating: "present", count: 1_200)
    let parts = (0..<sources).map { (title: "s\($0)", states: states) }
    let grids = ShardGrid.sharing(1_200, parts)
    let count = grids.reduce(0) { $0 + $1.section.components(separatedBy: "<rect ").count - 1 }
    #expect(count <= 1_200 && (count >= 600 || sources == 0), "\(count)")
    #expect(grids.count == min(sources, 1_200))
  }
}
