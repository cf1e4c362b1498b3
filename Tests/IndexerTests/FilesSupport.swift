// What the tests of codecs, files and search share: seeded vectors, a scratch
// directory, and FAISS's own writer to compare with.

import Base
import CFaiss
import Foundation
import FuzzReaders
import Indexer
import Testing

/// Seeded random numbers.
struct SeededNumbers {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func next(below bound: Int) -> Int { Int(next() % UInt64(bound)) }

  mutating func floats(_ count: Int, in range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in
      range.lowerBound + Float(next() >> 40) / Float(1 << 24) * (range.upperBound - range.lowerBound)
    }
  }

  mutating func unitRows(_ count: Int, dimension: Int) -> [Float] {
    (0..<count).flatMap { _ in
      let row = floats(dimension)
      let norm = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return row.map { $0 / norm }
    }
  }
}

/// A directory that goes away with its last user.
final class Scratch: Sendable {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "/tarn-indexer-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func file(_ name: String) -> String { path + "/" + name }

  var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

func bytes(of path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

func write(_ bytes: [UInt8], to path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }

/// An index small enough to look at: what goes in, and FAISS's view of it.
struct Sample {
  let trained: TrainedIndex
  /// Row-major vectors, `[count × dimension]`.
  let vectors: [Float]
  /// The list of each row.
  let lists: [UInt32]

  var dimension: Int { trained.dimension }
  var count: Int { lists.count }

  init(
    codec: VectorCodec, dimension: Int, nlist: Int, count: Int, seed: UInt64 = 7, occupiedLists: Int? = nil,
    statistic: RangeStatistic = .minmax
  ) throws {
    var numbers = SeededNumbers(seed: seed)
    let drawn = numbers.unitRows(count, dimension: dimension)
    // Halves have no ties to round, so every build of FAISS encodes them alike.
    vectors = codec == .fp16 ? drawn.map { Float(Float16($0)) } : drawn
    var trainer = try RangeTrainer(codec: codec, dimension: dimension, statistic: statistic)
    trainer.add((count == 0 ? numbers.unitRows(4, dimension: dimension) : vectors))
    let centroids = numbers.unitRows(nlist, dimension: dimension)
    trained = try TrainedIndex(centroids: centroids, quantizer: trainer.finish(), nprobe: 3)
    let occupied = occupiedLists ?? nlist
    lists = (0..<count).map { _ in UInt32(numbers.next(below: occupied)) }
  }

  /// Codes as the build makes them.
  var codes: [UInt8] { trained.quantizer.encode(vectors) }

  func rows(_ range: Range<Int>) -> [Float] {
    Array(vectors[range.lowerBound * dimension..<range.upperBound * dimension])
  }

  func description(trainedDigest: ContentDigest, shard: String) -> SegmentDescription {
    SegmentDescription(
      codec: trained.quantizer.codec, dimension: dimension, nlist: trained.nlist, trainedIndex: trainedDigest,
      shard: ContentDigest.of(shard))
  }

  /// Segments of the rows cut at `cuts`, opened again.
  func segments(cuts: [Int], trainedDigest: ContentDigest, in scratch: Scratch, holes: Set<Int> = []) throws
    -> [MergeInput]
  {
    let edges = [0] + cuts + [count]
    let codes = codes
    let width = trained.quantizer.codeByteCount
    return try zip(edges, edges.dropFirst()).enumerated().map { number, edge in
      let path = scratch.file("segment-\(number)")
      let assignments = (edge.0..<edge.1).map { holes.contains($0) ? SegmentWriter.skippedRow : lists[$0] }
      _ = try SegmentWriter.write(
        description(trainedDigest: trainedDigest, shard: "shard \(number)"), assignments: assignments,
        codes: Array(codes[edge.0 * width..<edge.1 * width]), to: path, temporaryPath: path + ".tmp")
      return MergeInput(segment: try SegmentFile(path: path), firstRowID: Int64(edge.0))
    }
  }

  /// The file that FAISS itself writes for these rows, through add_core.
  func writeWithFaiss(to path: String, rows: [Int], ids: [Int64]) throws {
    let picked = rows.flatMap { vectors[$0 * dimension..<($0 + 1) * dimension] }
    let numbers = rows.map { Int64(lists[$0]) }
    try withRecipe(trained) { recipe, error in
      cfaiss_write(recipe, Int64(rows.count), picked, ids, numbers, path, error, 256)
    }
  }
}

/// Calls FAISS with a trained index, and fails the test with its words.
func withRecipe(
  _ trained: TrainedIndex,
  _ body: (UnsafePointer<cfaiss_recipe>, UnsafeMutablePointer<CChar>?) -> Int32
) throws {
  let quantizer = trained.quantizer
  var error = [CChar](repeating: 0, count: 256)
  let status = trained.centroids.withUnsafeBufferPointer { centroids in
    quantizer.minima.withUnsafeBufferPointer { minima in
      quantizer.widths.withUnsafeBufferPointer { widths in
        var recipe = cfaiss_recipe()
        recipe.quantizer = quantizer.codec.faissQuantizerType ?? Int32(cfaiss_flat)
        if case .quantiles(let share) = quantizer.statistic {
          recipe.range_statistic = 2
          recipe.range_argument = share
        }
        recipe.dimension = Int64(quantizer.dimension)
        recipe.nlist = Int64(trained.nlist)
        recipe.nprobe = Int64(trained.nprobe)
        recipe.centroids = centroids.baseAddress
        recipe.minima = quantizer.codec.hasRanges ? minima.baseAddress : nil
        recipe.widths = quantizer.codec.hasRanges ? widths.baseAddress : nil
        return withUnsafePointer(to: recipe) { recipe in
          error.withUnsafeMutableBufferPointer { body(recipe, $0.baseAddress) }
        }
      }
    }
  }
  #expect(status == 0, "\(String(decoding: error.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))")
}

/// Expects an TarnError of one code, whose message names what it should.
func expectRefusal(
  _ code: TarnError.Code, naming text: String = "", sourceLocation: SourceLocation = #_sourceLocation,
  _ body: () throws -> Void
) {
  do {
    try body()
    Issue.record("nothing was refused", sourceLocation: sourceLocation)
  } catch let error as TarnError {
    #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
    #expect(text.isEmpty || error.description.contains(text), "\(error)", sourceLocation: sourceLocation)
    #expect(!error.description.contains("\n"), sourceLocation: sourceLocation)
  } catch {
    Issue.record("\(error)", sourceLocation: sourceLocation)
  }
}
