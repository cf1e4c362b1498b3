// `tarn-bench kmeans`: paired k-means, run on request, so that a script can run it
// and its peers in turn. One line in, one line out.

import Base
import Features
import Foundation
import Indexer
import Logging

/// Clusters pairs anew for each line on stdin.
///
/// Row i of both files is a pair. Prints as JSON the seconds of each iteration and the
/// objective of the last. The last word of a line may begin the names of two files:
/// `.centroids`, float32, which the last iteration assigned to, and `.cells`, uint32, the winners.
struct KMeansBenchmark {
  private let images: FeatureFile
  private let captions: FeatureFile
  private let nlist: Int
  private let iterations: Int

  init(_ options: Options) throws {
    guard let images = options.text("images"), let captions = options.text("captions") else {
      throw BenchmarkError(text: "kmeans needs --images FILE.npy and --captions FILE.npy")
    }
    (self.images, self.captions) = (try FeatureFile(images), try FeatureFile(captions))
    (nlist, iterations) = (try options.number("nlist", default: 16_384), try options.number("iterations", default: 10))
  }

  func run() throws {
    say(["state": .string("ready"), "blas": .string(blasName)])
    while let line = readLine() {
      let kmeans = try PairedKMeans(
        images: images.matrix, captions: captions.matrix, nearestImages: (0..<UInt32(images.rowCount)).map { $0 },
        nlist: nlist, seed: 1, inputs: .of("benchmark"), logger: Logger(label: "tarn.bench"))
      var state = try kmeans.initialState()
      var seconds: [Double] = []
      var assigned: [Float] = []
      for _ in 0..<iterations {
        assigned = state.centroids
        seconds.append(try ContinuousClock().measure { try kmeans.step(&state) } / .seconds(1))
      }
      let words = line.split(separator: " ")
      if words.count > 1, let path = words.last {
        try write(assigned, to: "\(path).centroids")
        try write(state.cells, to: "\(path).cells")
      }
      say([
        "seconds": .array(seconds.map { .number($0) }), "vectors": .count(images.rowCount),
        "objective": .number(state.history.last?.objective ?? 0),
      ])
    }
  }

  private func write<Element: BitwiseCopyable>(_ values: [Element], to path: String) throws {
    try values.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: path)) }
  }
}
