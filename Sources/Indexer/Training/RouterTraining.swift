// The router of an index: what a query is compared with to choose lists, apart
// from the centroids that files images. Trained on the captions that train the
// centroids; the labels are the lists of each caption's nearest images.

package import Base
internal import CKernels
internal import CRows
package import Features

/// What ranks the lists for a query.
package enum RouterMethod: String, Sendable, CaseIterable, Codable {
  /// The centroids themselves.
  case none
  /// The mean of the captions whose nearest images a list holds.
  case captionMean = "caption-mean"
  /// A linear softmax classifier of captions into lists, starting there.
  case learned
  /// The same classifier, starting at the centroids and held to them: what captions of
  /// training say is learned, and queries of another kind are ranked as by the centroids.
  case anchored

  /// Steps of image k-means before it where nobody chose: lists of images that captions
  /// alone have placed serve queries of another kind badly.
  package var refinements: Int { anchor == nil ? 3 : 10 }

  /// Whether it is trained, epoch by epoch.
  package var isTrained: Bool { self == .learned || anchor != nil }

  /// Length of the rows, along the centroids, that a router starts from and is held to; nil
  /// for one that is not.
  ///
  /// Part of the result.
  package var anchor: Double? { self == .anchored ? 100 : nil }
}

/// The training of a linear router, one row w_l of `dimension` floats a list.
///
/// Captions x in row order, each with the lists of its twenty nearest training
/// images (fewer when there are fewer images); y(x, l) is list l's share of
/// them and s_l the training images that are filed in l (at least 1).
///
/// 1. *Start.* w_l is the sum over captions of y(x, l) · x, in binary64 and row
///    order, normalised to the length ``scale``; a list without captions takes
///    its centroid. That is the router `caption-mean`.
/// 2. *Model.* p(l | x) = softmax over l of (<w_l, x> + log s_l). Queries rank
///    lists by <w_l, x> alone, which is log (p(l | x) / s_l): the share of
///    neighbours for each vector scanned. So the offset is trained away and the
///    rows need no bias, and fit into an IndexFlatIP.
/// 3. *Epoch.* The captions in the order of a Fisher-Yates shuffle, drawn from
///    SplitMix64 with the seed mix(seed + epoch · g); batches of 256; for each
///    one step of Adam on the mean cross-entropy, at the rate
///    r · (1 - step / steps), counted through all epochs.
/// 4. *Candidates.* Above ``fullSoftmaxLimit`` lists a batch trains the lists
///    of its labels and as many drawn ones, log of the expected number of
///    times a list is a candidate is taken from its offset, and only
///    candidates move.
///
/// The router `anchored` starts with ``RouterMethod/anchor`` times the centroid c_l, and to the
/// mean cross-entropy it adds the penalty ``pull`` / (2 nlist) · |w_l - anchor · c_l|²
/// of each candidate. Where captions say nothing, rows stay what they were, so queries
/// unlike them are ranked by <c_l, x>; a penalty, unlike a blend afterwards, costs
/// little where they say much.
///
/// Every sum of float32 is in one written order with one rounding a term
/// (`router.c`): the bits depend on no CPU, BLAS or number of threads.
package struct RouterTraining: Sendable {
  /// Nearest images that label a caption.
  package static let labelCount = 20
  /// Lists up to which every list is a candidate of every batch.
  package static let fullSoftmaxLimit = 4096
  /// Length of the rows that training starts from; part of the result.
  private static let scale = 10.0
  /// Twice nlist times the weight of the penalty that holds them; part of the result.
  private static let pull = 0x1p-10
  private static let rate = 0.05
  private static let batchSize = 256

  package let method: RouterMethod
  package let nlist: Int
  package let epochs: Int
  private let captions: FeatureMatrix
  /// Lists of each caption's nearest images, `[n × labelsPerCaption]`.
  private let labels: [UInt32]
  private let labelsPerCaption: Int
  /// log s_l.
  private let offsets: [Double]
  /// Captions-times-labels in each list.
  private let labelCounts: [Int]
  private let centroids: [Float]
  private let seed: UInt64
  private let sampledLists: Int?
  private let fingerprint: ContentDigest
  private let pool: WorkerPool

  /// Describes the training.
  ///
  /// - Parameters:
  ///   - method: Not `none`.
  ///   - captions: `[n × dimension]`, rows of unit length.
  ///   - labels: Lists of each caption's nearest images, `[n × m]`.
  ///   - listSizes: Training images filed in each list, `[nlist]`.
  ///   - centroids: What files images, `[nlist × dimension]`.
  ///   - epochs: Passes over the captions, `0...`; 0 leaves the start.
  ///   - seed: Chooses the orders.
  ///   - inputs: Identifies the bytes of captions, labels and centroids.
  ///   - sampledLists: Lists drawn for each batch; nil decides by
  ///     ``fullSoftmaxLimit``.
  ///   - pool: The threads; nil for the process's.
  /// - Throws: ``TarnError`` `.io` when those cannot be made.
  package init(
    method: RouterMethod, captions: FeatureMatrix, labels: [UInt32], listSizes: [Int], centroids: [Float],
    epochs: Int, seed: UInt64, inputs: ContentDigest, sampledLists: Int? = nil, pool: WorkerPool? = nil
  ) throws {
    nlist = listSizes.count
    precondition(method != .none && captions.rowCount > 0 && labels.count % captions.rowCount == 0)
    precondition(centroids.count == nlist * captions.dimension && labels.allSatisfy { Int($0) < listSizes.count })
    self.method = method
    self.epochs = method.isTrained ? epochs : 0
    (self.captions, self.labels, self.centroids, self.seed) = (captions, labels, centroids, seed)
    self.pool = try pool ?? .shared
    labelsPerCaption = labels.count / captions.rowCount
    offsets = listSizes.map { Self.logarithm(Double(max($0, 1))) }
    var counts = [Int](repeating: 0, count: nlist)
    for label in labels { counts[Int(label)] += 1 }
    labelCounts = counts
    let sampled = sampledLists ?? (nlist > Self.fullSoftmaxLimit ? Self.fullSoftmaxLimit : nil)
    self.sampledLists = sampled.flatMap { $0 < listSizes.count ? $0 : nil }
    fingerprint = .of(
      """
      router-v1 \(method.rawValue) nlist \(nlist) epochs \(epochs) seed \(seed) sampled \(self.sampledLists ?? 0)
      captions \(captions.rowCount) \(captions.dimension) \(captions.elementType) labels \(labelsPerCaption)
      inputs \(inputs)
      """)
  }

  /// What is known after some epochs.
  package struct State: Sendable, Equatable {
    /// Epochs done.
    package internal(set) var epoch: Int
    /// Router rows, `[nlist × dimension]`.
    package internal(set) var weights: [Float]
    /// Adam's moments, as many.
    package internal(set) var first: [Float]
    package internal(set) var second: [Float]
    /// Mean cross-entropy of each epoch, in nats, while it was trained.
    package internal(set) var losses: [Double]
  }

  /// The caption means, or, of a router that is held to them, the centroids at their length.
  ///
  /// - Returns: The state before the first epoch.
  package func initialState() -> State {
    let zeros = method.isTrained ? [Float](repeating: 0, count: centroids.count) : []
    let weights = method.anchor.map { anchor in centroids.map { Float(anchor) * $0 } } ?? captionMeans()
    return State(epoch: 0, weights: weights, first: zeros, second: zeros, losses: [])
  }

  /// The sum of the captions of each list at the length ``scale``, `[nlist × dimension]`.
  private func captionMeans() -> [Float] {
    let dimension = captions.dimension
    let slots = GroupedNumbers(by: labels, keyCount: nlist)
    var weights = [Float](repeating: 0, count: nlist * dimension)
    let listsPerTask = max(1, nlist / (16 * pool.threadCount))
    unsafe weights.withUnsafeMutableBufferPointer { buffer in
      // A list is one task's alone.
      nonisolated(unsafe) let buffer = unsafe buffer
      pool.run((nlist + listsPerTask - 1) / listsPerTask) { task, _ in
        var sums = [Double](repeating: 0, count: dimension)
        for list in (task * listsPerTask)..<min((task + 1) * listsPerTask, nlist) {
          for j in 0..<dimension { sums[j] = 0 }
          for slot in slots[list] {
            let caption = Int(slot) / labelsPerCaption
            unsafe crows_add_row(
              SimdLevel.current, captions.address(ofRow: caption), captions.elementType.code, dimension, &sums)
          }
          var length = unsafe crows_score64(sums, sums, dimension).squareRoot()
          if !(length > 0) {
            for j in 0..<dimension { sums[j] = Double(centroids[list * dimension + j]) }
            length = 1
          }
          for j in 0..<dimension { unsafe buffer[list * dimension + j] = Float(sums[j] / length * Self.scale) }
        }
      }
    }
    return weights
  }

  /// Carries out one epoch.
  ///
  /// - Parameter state: The state after the epochs before; gets this one's.
  package func step(_ state: inout State) {
    precondition(method.isTrained && state.epoch < epochs, "there is no such epoch")
    let count = captions.rowCount
    var random = SplitMix64(seed: SplitMix64.mix(seed &+ UInt64(state.epoch + 1) &* SplitMix64.increment))
    var order = (0..<UInt32(count)).map { $0 }
    order.shuffleFirst(count - 1, by: &random)
    let batches = (count + Self.batchSize - 1) / Self.batchSize
    var loss = 0.0
    for batch in 0..<batches {
      let rows = order[(batch * Self.batchSize)..<min((batch + 1) * Self.batchSize, count)]
      let candidates = candidates(of: rows, &random)
      loss += train(rows, candidates, step: state.epoch * batches + batch, of: epochs * batches, &state)
    }
    state.epoch += 1
    state.losses.append(loss / Double(count))
  }

  // MARK: One batch

  /// The lists that a batch trains, ascending, and what is added to their
  /// logits.
  private struct Candidates {
    let lists: [UInt32]
    let offsets: [Float]
    /// Position of each list in `lists`; nil when all are there.
    let position: [UInt32: Int]?

    func position(of list: UInt32) -> Int { position.map { $0[list] ?? 0 } ?? Int(list) }
  }

  private func candidates(of rows: ArraySlice<UInt32>, _ random: inout SplitMix64) -> Candidates {
    guard let sampledLists else {
      return Candidates(lists: (0..<UInt32(nlist)).map { $0 }, offsets: offsets.map { Float($0) }, position: nil)
    }
    var chosen: Set<UInt32> = []
    for row in rows {
      chosen.formUnion(labels[(Int(row) * labelsPerCaption)..<((Int(row) + 1) * labelsPerCaption)])
    }
    for _ in 0..<sampledLists { chosen.insert(UInt32(random.next(below: nlist))) }
    let lists = chosen.sorted()
    let drawn = Double(sampledLists) / Double(nlist)
    let perLabel = Double(rows.count) / Double(captions.rowCount)
    let corrected = lists.map { list in
      let expected = min(1, drawn + perLabel * Double(labelCounts[Int(list)]))
      return Float(offsets[Int(list)] - Self.logarithm(expected))
    }
    return Candidates(
      lists: lists, offsets: corrected, position: Dictionary(uniqueKeysWithValues: zip(lists, lists.indices)))
  }

  /// One step over some captions; returns the sum of the rows' cross-entropies.
  private func train(
    _ rows: ArraySlice<UInt32>, _ candidates: Candidates, step: Int, of steps: Int, _ state: inout State
  ) -> Double {
    let padded = (candidates.lists.count + 15) / 16 * 16
    let vectors = captions.floats(ofRows: rows.map { Int($0) })
    var logits = products(of: vectors, with: candidates.lists, of: state.weights, padded: padded)
    let loss = subtractLabels(rows, candidates, &logits, padded)
    descend(from: logits, padded: padded, vectors, candidates.lists, step: step, of: steps, &state)
    return loss
  }

  /// The products of captions and the rows of some lists, `[captions × padded]`, 0 past the lists.
  private func products(of vectors: [Float], with lists: [UInt32], of weights: [Float], padded: Int) -> [Float] {
    let (dimension, perTask) = (captions.dimension, 64)
    let count = vectors.count / dimension
    return unsafe [Float](unsafeUninitializedCapacity: count * padded) { buffer, filled in
      // Tasks write disjoint columns.
      nonisolated(unsafe) let buffer = unsafe buffer
      pool.run((padded + perTask - 1) / perTask) { task, _ in
        guard let out = unsafe buffer.baseAddress else { return }
        let columns = task * perTask..<min((task + 1) * perTask, padded)
        var rows: [Float] = []
        rows.reserveCapacity(columns.count * dimension)
        for list in lists[columns.clamped(to: 0..<lists.count)] {
          rows += weights[(Int(list) * dimension)..<((Int(list) + 1) * dimension)]
        }
        rows += repeatElement(0, count: columns.count * dimension - rows.count)
        unsafe ckernels_product(
          SimdLevel.current, count, columns.count, dimension, vectors, dimension, 1, rows, 1, dimension,
          out + columns.lowerBound, padded)
      }
      filled = count * padded
    }
  }

  /// Moves the rows of some lists against their gradient, the sum over captions of (p - y) x, by Adam, and towards what
  /// anchors them.
  ///
  /// - Parameters:
  ///   - errors: p - y, `[captions × padded]`.
  ///   - padded: Columns of it, no fewer than lists.
  ///   - vectors: The captions.
  ///   - lists: Whose rows they are.
  ///   - step: Steps before this one.
  ///   - steps: Steps of the whole training.
  ///   - state: Weights and moments.
  private func descend(
    from errors: [Float], padded: Int, _ vectors: [Float], _ lists: [UInt32], step: Int, of steps: Int,
    _ state: inout State
  ) {
    let dimension = captions.dimension
    let count = vectors.count / dimension
    let rate = Self.rate * (1 - Double(step) / Double(steps))
    let firstCorrection = 1 - Self.power(0.9, step + 1)
    let secondCorrection = 1 - Self.power(0.999, step + 1)
    let (scaledRate, correction) = (Float(rate / firstCorrection), Float(1 / secondCorrection))
    let gradientScale = Float(1 / Double(count))
    // The kernel scales it with the gradient.
    let (anchor, pull) = (
      Float(method.anchor ?? 0), method.anchor == nil ? 0 : Float(Self.pull / Double(nlist) * Double(count))
    )
    // Out of the state while they change: three parts of it at once.
    var (allWeights, allFirst, allSecond): ([Float], [Float], [Float]) = ([], [], [])
    swap(&allWeights, &state.weights)
    swap(&allFirst, &state.first)
    swap(&allSecond, &state.second)
    defer {
      swap(&allWeights, &state.weights)
      swap(&allFirst, &state.first)
      swap(&allSecond, &state.second)
    }
    unsafe allWeights.withUnsafeMutableBufferPointer { weights in
      unsafe allFirst.withUnsafeMutableBufferPointer { first in
        unsafe allSecond.withUnsafeMutableBufferPointer { second in
          // A list is one task's alone.
          nonisolated(unsafe) let (weights, first, second) = unsafe (weights, first, second)
          let perTask = 72
          pool.run((lists.count + perTask - 1) / perTask) { task, _ in
            guard let w = unsafe weights.baseAddress, let m = unsafe first.baseAddress,
              let v = unsafe second.baseAddress
            else { return }
            let own = task * perTask..<min((task + 1) * perTask, lists.count)
            var gradient = [Float](repeating: 0, count: own.count * dimension)
            unsafe errors.withUnsafeBufferPointer { errors in
              guard let start = errors.baseAddress else { return }
              unsafe ckernels_product(
                SimdLevel.current, own.count, dimension, count, start + own.lowerBound, 1, padded, vectors, dimension,
                1, &gradient, dimension)
            }
            unsafe gradient.withUnsafeMutableBufferPointer { gradient in
              guard let g = gradient.baseAddress else { return }
              for position in own {
                let (at, from) = (Int(lists[position]) * dimension, (position - own.lowerBound) * dimension)
                if pull > 0 {
                  unsafe centroids.withUnsafeBufferPointer { centroids in
                    guard let c = centroids.baseAddress else { return }
                    unsafe ckernels_pull(
                      SimdLevel.current, g + from, w + at, c + at, dimension, anchor, pull)
                  }
                }
                unsafe ckernels_adam(
                  SimdLevel.current, w + at, m + at, v + at, g + from, dimension, gradientScale, scaledRate, correction)
              }
            }
          }
        }
      }
    }
  }

  /// Turns logits into p - y; returns the sum of the rows' cross-entropies.
  private func subtractLabels(
    _ rows: ArraySlice<UInt32>, _ candidates: Candidates, _ logits: inout [Float], _ padded: Int
  ) -> Double {
    let width = candidates.lists.count
    let offsets = candidates.offsets + [Float](repeating: -.infinity, count: padded - width)
    let share = 1 / Float(labelsPerCaption)
    unsafe logits.withUnsafeMutableBufferPointer { buffer in
      nonisolated(unsafe) let buffer = unsafe buffer
      pool.run(rows.count) { row, _ in
        guard let start = unsafe buffer.baseAddress else { return }
        unsafe ckernels_softmax(SimdLevel.current, start + row * padded, offsets, padded)
      }
    }
    var loss = 0.0
    for (index, row) in rows.enumerated() {
      let own = labels[(Int(row) * labelsPerCaption)..<((Int(row) + 1) * labelsPerCaption)]
      let places = own.map { index * padded + candidates.position(of: $0) }
      for place in places { loss -= Double(share) * Self.logarithm(Double(max(logits[place], 1e-30))) }
      for place in places { logits[place] -= share }
    }
    return loss
  }
}

extension RouterTraining {
  /// The natural logarithm of a positive number by IEEE operations alone: a
  /// library's last bit depends on its version.
  static func logarithm(_ value: Double) -> Double {
    // value = m · 2^e with m in [sqrt(1/2), sqrt(2)), and log m = 2 artanh((m - 1) / (m + 1)).
    var (m, e) = (value.significand, value.exponent)
    if m > 0x1.6a09e667f3bcdp0 {
      m /= 2
      e += 1
    }
    let z = (m - 1) / (m + 1)
    var sum = 0.0
    for term in stride(from: 29, through: 1, by: -2) { sum = sum * z * z + 1 / Double(term) }
    return 2 * z * sum + Double(e) * 0x1.62e42fefa39efp-1
  }

  /// base^exponent by repeated squaring.
  private static func power(_ base: Double, _ exponent: Int) -> Double {
    var (result, square, left) = (1.0, base, exponent)
    while left > 0 {
      if left & 1 == 1 { result *= square }
      square *= square
      left >>= 1
    }
    return result
  }

  /// Saves a state durably.
  ///
  /// - Parameters:
  ///   - state: A state of this training.
  ///   - path: The final name; a file of that name is replaced.
  /// - Returns: The SHA-256 of the file.
  /// - Throws: ``TarnError`` when writing fails.
  @discardableResult
  package func save(_ state: State, as path: String) throws -> ContentDigest {
    var writer = try StateWriter(creating: path + ".tmp", magic: "tarnrout", fingerprint: fingerprint)
    try writer.write([UInt64(state.epoch)])
    try writer.write(state.losses)
    try writer.write(state.weights)
    try writer.write(state.first)
    try writer.write(state.second)
    return try writer.finish(as: path)
  }

  /// Reads a saved state.
  ///
  /// - Parameter path: What ``save(_:as:)`` wrote.
  /// - Returns: The state; going on from it gives the bytes that an
  ///   uninterrupted run gives.
  /// - Throws: ``TarnError`` `.integrity` when the file is damaged or
  ///   belongs to another training, `.inputsMissing` when there is none.
  package func load(_ path: String) throws -> State {
    var reader = try StateReader(path, magic: "tarnrout", fingerprint: fingerprint)
    let epoch = try reader.read(UInt64.self)
    let losses = try reader.read(Double.self)
    let weights = try reader.read(Float.self)
    let first = try reader.read(Float.self)
    let second = try reader.read(Float.self)
    let size = nlist * captions.dimension
    guard losses.count <= epochs, epoch == [UInt64(losses.count)], weights.count == size,
      first.count == (method.isTrained ? size : 0), second.count == first.count
    else { throw StateReader.misfit(path) }
    return State(epoch: losses.count, weights: weights, first: first, second: second, losses: losses)
  }
}
