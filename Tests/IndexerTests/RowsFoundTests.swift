// Rows found by tasks: however the vectors are cut, what one search finds; and files of
// them that others wrote.

import Base
import Features
import Foundation
import Indexer
import Logging
import Testing
import TestSupport

@Suite struct RowsFoundTests {
  private let logger = Logger(label: "test")
  private let task = ContentDigest.of("task")

  /// Unit rows, many of them equal to others, so that ties are decided.
  private func matrix(_ count: Int, _ dimension: Int, seed: UInt64) -> FeatureMatrix {
    var random = SplitMix64(seed: seed)
    var values: [Float] = []
    for row in 0..<count {
      if row > 2, random.next(below: 4) == 0 {
        let other = random.next(below: row)
        values += values[(other * dimension)..<((other + 1) * dimension)]
        continue
      }
      let drawn = (0..<dimension).map { _ in Double(random.next(below: 2001)) - 1000 }
      let length = max(1, drawn.reduce(0) { $0 + $1 * $1 }.squareRoot())
      values += drawn.map { Float($0 / length) }
    }
    return FeatureMatrix(values, dimension: dimension)
  }

  /// By sorting all scores, the lowest row first of equal ones.
  private func definition(_ k: Int, _ vectors: FeatureMatrix, _ range: Range<Int>, _ rows: FeatureMatrix) -> [UInt32] {
    range.flatMap { vector -> [UInt32] in
      let query = vectors.floats(rows: vector..<(vector + 1)).map { Double($0) }
      let scores = (0..<rows.rowCount).map { row in
        zip(query, rows.floats(rows: row..<(row + 1))).reduce(0.0) { $0 + $1.0 * Double($1.1) }
      }
      // Equal rows have equal scores; others differ by far more than an order of summing does.
      return scores.indices.sorted { scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1 }.prefix(k).map {
        UInt32($0)
      }
    }
  }

  @Test(arguments: [1, 3, 20])
  func everyCutGivesWhatTheDefinitionSays(k: Int) throws {
    for seed: UInt64 in 0..<6 {
      let (vectors, rows) = (matrix(97, 24, seed: seed), matrix(61, 24, seed: seed + 100))
      let whole = try RowsFound.find(k, ofVectors: vectors, in: 0..<97, among: rows, logger: logger) { _ in }
      #expect(whole.rows == definition(k, vectors, 0..<97, rows), "seed \(seed)")
      #expect(whole.firstLie(at: Array(0..<97), ofVectors: vectors, from: 0, among: rows) == nil)
      var random = SplitMix64(seed: seed)
      var (found, scores, first): ([UInt32], [Double], Int) = ([], [], 0)
      while first < 97 {
        let end = min(97, first + 1 + random.next(below: 40))
        let part = try RowsFound.find(k, ofVectors: vectors, in: first..<end, among: rows, logger: logger) { _ in }
        found += part.rows
        scores += part.scores
        first = end
      }
      #expect(RowsFound(k: whole.k, rows: found, scores: scores) == whole, "seed \(seed)")
    }
  }

  @Test func moreRowsThanThereAreAreNotFound() throws {
    let (vectors, rows) = (matrix(5, 8, seed: 1), matrix(4, 8, seed: 2))
    let found = try RowsFound.find(20, ofVectors: vectors, in: 1..<5, among: rows, logger: logger) { _ in }
    #expect(found.k == 4 && found.rows.count == 16)
    #expect(Set(found.rows.prefix(4)) == [0, 1, 2, 3])
  }

  @Test func aFileIsReadAsItWasWrittenAndNothingElseIs() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/found.rows"
    let (vectors, rows) = (matrix(33, 16, seed: 4), matrix(29, 16, seed: 5))
    let found = try RowsFound.find(1, ofVectors: vectors, in: 0..<33, among: rows, logger: logger) { _ in }
    let digest = try found.write(task, to: path)
    #expect(try Disk.digest(of: path) == digest)
    #expect(try RowsFound(reading: path, task: task, count: 33, k: 1, rowCount: 29) == found)
    func refuses(_ task: ContentDigest, count: Int, k: Int, rowCount: Int) -> Bool {
      (try? RowsFound(reading: path, task: task, count: count, k: k, rowCount: rowCount)) == nil
    }
    #expect(refuses(.of("other"), count: 33, k: 1, rowCount: 29))
    #expect(refuses(task, count: 32, k: 1, rowCount: 29))
    #expect(refuses(task, count: 33, k: 2, rowCount: 29))
    #expect(refuses(task, count: 33, k: 1, rowCount: Int(found.rows.max() ?? 0)))
    let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    for place in whole.indices {
      var changed = whole
      changed[place] ^= 1
      try Data(changed).write(to: URL(fileURLWithPath: path))
      #expect(refuses(task, count: 33, k: 1, rowCount: 29), "byte \(place)")
    }
    for count in stride(from: 0, to: whole.count, by: 7) {
      try Data(whole.prefix(count)).write(to: URL(fileURLWithPath: path))
      #expect(refuses(task, count: 33, k: 1, rowCount: 29), "\(count) bytes")
    }
  }

  @Test func aScoreThatIsNotTheRowsIsFound() throws {
    let (vectors, rows) = (matrix(40, 16, seed: 8), matrix(31, 16, seed: 9))
    let found = try RowsFound.find(1, ofVectors: vectors, in: 10..<40, among: rows, logger: logger) { _ in }
    for place in 0..<30 {
      var scores = found.scores
      scores[place] = scores[place].nextUp
      let lie = RowsFound(k: 1, rows: found.rows, scores: scores)
      #expect(lie.firstLie(at: Array(0..<30), ofVectors: vectors, from: 10, among: rows) == place)
    }
  }

  @Test func theDigestOfRowsIsThatOfTheirBytes() {
    let rows = matrix(50, 12, seed: 3)
    for range in [0..<50, 7..<9, 49..<50, 20..<20] {
      let bytes = rows.floats(rows: range).flatMap { value in
        withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
      }
      #expect(rows.digest(ofRows: range) == .of(bytes))
    }
  }
}
