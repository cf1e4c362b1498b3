// The router: arithmetic that is the same everywhere, training that resumes to
// the bit, and the file that holds router and assigner.

import Base
import CFaiss
import CKernels
import Features
import Foundation
import Indexer
import Testing
import TestSupport

@Suite struct RouterArithmeticTests {
  @Test(arguments: [1, 2, 3, 4, 5])
  func productsAreFusedSumsInOrderAtEveryLevel(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let (rows, columns, depth) = (
      1 + Int(random.next() % 100), 1 + Int(random.next() % 90), 1 + Int(random.next() % 600)
    )
    let a = random.unitRows(rows, dimension: depth)
    let b = random.unitRows(columns, dimension: depth)
    let transposed = (0..<depth).flatMap { k in (0..<columns).map { b[$0 * depth + k] } }
    let turned = (0..<depth).flatMap { k in (0..<rows).map { a[$0 * depth + k] } }
    var wanted = [Float](repeating: 0, count: rows * columns)
    for i in 0..<rows {
      for j in 0..<columns {
        var sum: Float = 0
        for k in 0..<depth { sum.addProduct(a[i * depth + k], b[j * depth + k]) }
        wanted[i * columns + j] = sum
      }
    }
    for level in SimdLevel.all {
      var out = [Float](repeating: .nan, count: rows * columns)
      ckernels_product(level, rows, columns, depth, a, depth, 1, b, 1, depth, &out, columns)
      #expect(out == wanted, "level \(level)")
      out = [Float](repeating: .nan, count: rows * columns)
      ckernels_product(level, rows, columns, depth, a, depth, 1, transposed, columns, 1, &out, columns)
      #expect(out == wanted, "level \(level), columns apart")
      out = [Float](repeating: .nan, count: rows * columns)
      ckernels_product(level, rows, columns, depth, turned, 1, rows, b, 1, depth, &out, columns)
      #expect(out == wanted, "level \(level), rows apart")
    }
  }

  @Test func softmaxAndAdamAreTheSameAtEveryLevel() {
    var random = SplitMix64(seed: 11)
    let logits = random.unitRows(1, dimension: 96).map { $0 * 200 }
    let offsets = [Float](repeating: 0.5, count: 90) + [Float](repeating: -.infinity, count: 6)
    let gradient = random.unitRows(1, dimension: 37)
    var results: [[Float]] = []
    for level in SimdLevel.all {
      var values = logits
      ckernels_softmax(level, &values, offsets, 96)
      var (w, m, v) = (
        random.unitRows(0, dimension: 1), [Float](repeating: 0, count: 37), [Float](repeating: 0, count: 37)
      )
      w = gradient.map { $0 * 3 }
      var pulled = gradient
      ckernels_pull(level, &pulled, w, gradient.reversed(), 37, 2, 0.5)
      for (index, value) in pulled.enumerated() {
        let distance = w[index] - 2 * gradient[36 - index]
        #expect(value == gradient[index].addingProduct(0.5, distance))
      }
      for step in 1...3 { ckernels_adam(level, &w, &m, &v, gradient, 37, 0.25, 0.1 / Float(step), 900) }
      results.append(values + w + m + v)
    }
    #expect(Set(results.map { $0.map(\.bitPattern) }).count == 1)
    let values = results[0].prefix(96)
    #expect(values.suffix(6).allSatisfy { $0 == 0 })
    let top = logits.prefix(90).max() ?? 0
    let exact = logits.prefix(90).map { Foundation.exp(Double($0 - top)) }
    let total = exact.reduce(0, +)
    for (value, wanted) in zip(values, exact) {
      #expect(abs(Double(value) - wanted / total) <= 4e-6 * wanted / total + 1e-30)
    }
  }
}

@Suite struct RouterTrainingTests {
  private static let dimension = 12
  private static let nlist = 9

  /// Captions of noisy lists, and their labels.
  private func training(
    threads: Int, epochs: Int = 3, sampled: Int? = nil, method: RouterMethod = .learned, seed: UInt64 = 5
  ) throws -> RouterTraining {
    var random = SplitMix64(seed: 21)
    let centroids = random.unitRows(Self.nlist, dimension: Self.dimension)
    let noise = random.unitRows(700, dimension: Self.dimension)
    var captions: [Float] = []
    var labels: [UInt32] = []
    for i in 0..<700 {
      // List 8 has no captions: it keeps its centroid at the start.
      let list = Int(random.next() % UInt64(Self.nlist - 1))
      let row = (0..<Self.dimension).map { centroids[list * Self.dimension + $0] + noise[i * Self.dimension + $0] }
      let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      captions += row.map { $0 / length }
      labels += [UInt32(list), UInt32(list), UInt32(random.next() % UInt64(Self.nlist - 1))]
    }
    return try RouterTraining(
      method: method, captions: FeatureMatrix(captions, dimension: Self.dimension), labels: labels,
      listSizes: (1...Self.nlist).map { $0 * 10 }, centroids: centroids, epochs: epochs, seed: seed,
      inputs: .of("inputs"), sampledLists: sampled, pool: WorkerPool(threadCount: threads))
  }

  private func run(_ training: RouterTraining) -> RouterTraining.State {
    var state = training.initialState()
    while state.epoch < training.epochs { training.step(&state) }
    return state
  }

  @Test(arguments: [nil, 4], [RouterMethod.learned, .anchored])
  func theNumberOfThreadsHasNoEffect(sampled: Int?, method: RouterMethod) throws {
    let one = try run(training(threads: 1, sampled: sampled, method: method))
    #expect(try run(training(threads: 3, sampled: sampled, method: method)) == one)
    #expect(try run(training(threads: 1, sampled: sampled, method: method, seed: 6)).weights != one.weights)
    // Over drawn lists the losses are of other lists in every batch.
    #expect(one.losses.count == 3 && (sampled != nil || one.losses[2] < one.losses[0]))
  }

  @Test func drawingEveryListIsTheFullSoftmax() throws {
    #expect(try run(training(threads: 1, sampled: Self.nlist)) == run(training(threads: 1)))
  }

  @Test(arguments: [nil, 4], [RouterMethod.learned, .anchored])
  func aKilledTrainingGoesOnToTheSameBits(sampled: Int?, method: RouterMethod) throws {
    let scratch = try Scratch()
    let training = try training(threads: 2, sampled: sampled, method: method)
    var state = training.initialState()
    training.step(&state)
    try training.save(state, as: scratch.file("state"))
    var resumed = try training.load(scratch.file("state"))
    #expect(resumed == state)
    while resumed.epoch < training.epochs { training.step(&resumed) }
    #expect(resumed == run(training))
    let other = try self.training(threads: 2, epochs: 4, sampled: sampled, method: method)
    expectRefusal(.integrity, naming: "other inputs or parameters") { _ = try other.load(scratch.file("state")) }
  }

  /// Where no caption says anything, an anchored router is the centroids, to the bit: a
  /// query unlike all captions is ranked by them.
  @Test func anAnchoredRouterIsTheCentroidsWhereCaptionsAreSilent() throws {
    var random = SplitMix64(seed: 31)
    let (nlist, dimension, spoken) = (6, 10, 4)
    let centroids = random.unitRows(nlist, dimension: dimension)
    let captions = random.unitRows(300, dimension: spoken)
    var padded: [Float] = []
    for row in 0..<300 {
      padded += captions[(row * spoken)..<((row + 1) * spoken)] + [Float](repeating: 0, count: dimension - spoken)
    }
    let training = try RouterTraining(
      method: .anchored, captions: FeatureMatrix(padded, dimension: dimension),
      labels: (0..<300).map { _ in UInt32(random.next() % UInt64(nlist)) },
      listSizes: [Int](repeating: 50, count: nlist), centroids: centroids, epochs: 4, seed: 1, inputs: .of("inputs"),
      pool: WorkerPool(threadCount: 2))
    let start = training.initialState().weights
    let weights = run(training).weights
    for list in 0..<nlist {
      let (from, to) = (list * dimension, (list + 1) * dimension)
      #expect(weights[(from + spoken)..<to] == start[(from + spoken)..<to])
      #expect(weights[from..<(from + spoken)] != start[from..<(from + spoken)])
      let length = start[from..<to].reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(abs(length - 100) < 1e-3)
    }
  }

  @Test func theStartIsTheMeanOfTheCaptionsOfAList() throws {
    let training = try training(threads: 2, method: .captionMean)
    #expect(training.epochs == 0)
    let weights = training.initialState().weights
    for list in 0..<Self.nlist {
      let row = weights[(list * Self.dimension)..<((list + 1) * Self.dimension)]
      let length = row.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(abs(length - 10) < 1e-4)
    }
  }
}

@Suite struct RoutedIndexFileTests {
  @Test func itHoldsRouterAndAssignerAndStockFaissOpensIt() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 8, nlist: 4, count: 50)
    var numbers = SeededNumbers(seed: 3)
    let router = numbers.unitRows(4, dimension: 8)
    let trained = try TrainedIndex(
      centroids: router, assigner: sample.trained.centroids, quantizer: sample.trained.quantizer)
    let path = scratch.file("trained.faiss")
    let written = try TrainedIndexFile.write(trained, to: path, temporaryPath: path + ".tmp")
    #expect(try TrainedIndexFile.read(path, digest: written.digest) == trained)
    var index: OpaquePointer?
    #expect(cfaiss_open(path, 0, &index, nil, 0) == 0)
    cfaiss_close(index)

    let whole = try bytes(of: path)
    for count in [1, 40, whole.count - 9] {
      try write(Array(whole.dropLast(count)), to: scratch.file("short"))
      expectRefusal(.integrity) { _ = try TrainedIndexFile.read(scratch.file("short")) }
    }
    try write(whole + [0], to: scratch.file("long"))
    expectRefusal(.integrity, naming: "follow the assigner") { _ = try TrainedIndexFile.read(scratch.file("long")) }

    // An output carries the router and not the assigner.
    let inputs = try sample.segments(cuts: [], trainedDigest: written.digest, in: scratch)
    let output = scratch.file("output.faiss")
    let summary = try OutputShardMerge.write(
      inputs, trained: trained, trainedDigest: written.digest, to: output, temporaryPath: output + ".tmp")
    try OutputShardFile.verify(output, trained: trained, summary: summary, idsIn: inputs.map(\.ids))
    let opened = try OutputShardFile(path: output).trained
    #expect(opened.centroids == router && opened.assigner == nil)
  }

  @Test func anAssignerOfAnotherShapeIsRefused() throws {
    let sample = try Sample(codec: .sq4, dimension: 8, nlist: 4, count: 50)
    expectRefusal(.usage, naming: "assigner") {
      _ = try TrainedIndex(centroids: sample.trained.centroids, assigner: [1, 2], quantizer: sample.trained.quantizer)
    }
  }
}

@Suite struct TrainingSpecificationTests {
  @Test func whatASpecificationDoesNotNameIsTheDefault() throws {
    let specification = try TrainingSpecification(parsing: #"{"format":1,"method":"kmeans"}"#)
    #expect(specification.normalisation == .refuse && specification.router == RouterOptions())
  }

  @Test func everythingThatRouterTrainingDependsOnIsReadBack() throws {
    let specification = try TrainingSpecification(
      parsing: """
        {"normalisation":"normalise","router":{"method":"learned","rule":"captions-and-blends-v1","captions":7,"epochs":2,
        "refinements":0,"labels":20,"candidates":5}}
        """)
    #expect(specification.normalisation == .normalise)
    #expect(
      specification.router
        == RouterOptions(method: .learned, epochs: 2, captionLimit: 7, refinements: 0, candidates: 5))
  }

  @Test(arguments: [
    "", "[]", #"{"normalisation":"guess"}"#, #"{"router":"learned"}"#,
    #"{"router":{"method":"learned","rule":"v9","captions":7,"epochs":2,"refinements":0}}"#,
    #"{"router":{"method":"a\nb","rule":"captions-and-blends-v1","captions":7,"epochs":2,"refinements":0}}"#,
  ])
  func aSpecificationOfAnotherTarnIsRefused(spec: String) {
    expectRefusal(.usage, naming: "known") { _ = try TrainingSpecification(parsing: spec) }
  }
}

@Suite struct RouterLabelTests {
  @Test func labelsAreGoneOnWithWhereTheyCanBeRead() throws {
    let scratch = try Scratch()
    var random = SplitMix64(seed: 6)
    let images = FeatureMatrix(random.unitRows(40, dimension: 8), dimension: 8)
    let queries = FeatureMatrix(random.unitRows(5, dimension: 8), dimension: 8)
    let labels = RouterLabels(queries: queries, images: images, inputs: .of("x"))
    let path = scratch.file("labels.state")
    // None is there.
    let whole = try labels.find(resumingAt: path) { _ in }
    #expect(whole.count == 5 * labels.perQuery)
    // What is there is taken.
    _ = try labels.save(Array(whole.prefix(2 * labels.perQuery)), as: path)
    #expect(Disk.size(of: path) == RouterLabels.byteCount(queryCount: 2, imageCount: 40))
    let resumed = try labels.find(resumingAt: path) { _ in }
    #expect(resumed == whole)
    // What is damaged is made again, what cannot be read is not.
    var damaged = try bytes(of: path)
    damaged[50] ^= 1
    try write(damaged, to: path)
    let again = try labels.find(resumingAt: path) { _ in }
    #expect(again == whole)
    try Disk.remove(path)
    try Disk.makeDirectory(path)
    expectRefusal(.io, naming: path) { _ = try labels.find(resumingAt: path) { _ in } }
  }
}
