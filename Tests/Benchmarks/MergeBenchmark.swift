// Segments to an output shard: how close writing, merging and reading back come
// to the disk's own sequential write rate, and how much memory they take.

import Base
import Foundation
import Indexer

struct MergeBenchmark {
  static let childCommand = "merge-child"

  private let options: Options
  private let rounds: Int
  private let segmentCount: Int
  private let rowsPerSegment: Int
  private let trained: TrainedIndex
  private let trainedDigest = ContentDigest.of("benchmark")

  init(_ options: Options) throws {
    self.options = options
    rounds = try options.number("rounds", default: 5)
    segmentCount = try options.number("segments", default: 40)
    rowsPerSegment = try options.number("rows", default: 1_000_000) / segmentCount
    let nlist = try options.number("nlist", default: 16_384)
    let dimension = try options.number("dimension", default: 768)
    let quantizer = try ScalarQuantizer(
      codec: .sq4, dimension: dimension, minima: [Float](repeating: -1, count: dimension),
      widths: [Float](repeating: 2, count: dimension))
    trained = try TrainedIndex(centroids: [Float](repeating: 0.25, count: nlist * dimension), quantizer: quantizer)
  }

  func run() throws {
    let directory = try WorkDirectory(in: options.text("dir"))
    let (assignments, codes) = makeShard()
    var segmentByteCount = 0
    for number in 0..<segmentCount {
      segmentByteCount = try write(number, assignments, codes, in: directory.path)
    }
    let inputs = try open(segmentCount, in: directory.path)
    let output = directory.file("output")
    let summary = try merge(inputs, to: output)
    let outputByteCount = Double(summary.byteCount)

    let block = Array(codes.prefix(4 << 20))
    let measurements = [
      Measurement(name: "raw write + fsync", amount: outputByteCount) { body in
        try body { try writeRaw(block, summary.byteCount, to: directory.file("raw")) }
        try Disk.remove(directory.file("raw"))
      },
      Measurement(name: "merge, segments cold", amount: outputByteCount) { body in
        for input in inputs { evict(input.segment.path) }
        try body { _ = try merge(inputs, to: output) }
      },
      Measurement(name: "merge, segments warm", amount: outputByteCount) { body in
        for input in inputs { _ = try Disk.digest(of: input.segment.path) }
        try body { _ = try merge(inputs, to: output) }
      },
      Measurement(name: "read back", amount: outputByteCount) { body in
        try body {
          try OutputShardFile.verify(output, trained: trained, summary: summary, idsIn: inputs.map(\.ids))
        }
      },
      Measurement(name: "write one segment", amount: Double(segmentByteCount)) { body in
        try body { _ = try write(segmentCount, assignments, codes, in: directory.path) }
      },
    ]
    let rates = try alternate(rounds: rounds, measurements)
    print(
      "\(segmentCount) segments of \(rowsPerSegment) rows, nlist \(trained.nlist), \(trained.dimension) dimensions, "
        + "output of \(format(outputByteCount / 1e6, 0)) MB, \(rounds) rounds")
    for (measurement, rates) in zip(measurements, rates) {
      print(
        "  \(measurement.name.padding(toLength: 22, withPad: " ", startingAt: 0))median \(format(median(rates) / 1e9)) GB/s"
          + "   each \(rates.map { format($0 / 1e9) }.joined(separator: " "))")
    }
    let ratio = median(rates[1]) / median(rates[0])
    print("  merge / raw write: cold \(format(ratio)), warm \(format(median(rates[2]) / median(rates[0])))")

    let few = max(1, segmentCount / 4)
    let peaks = try [few, segmentCount].map { try peakOfChild(segments: $0, in: directory.path) }
    print(
      "  peak memory: \(format(peaks[0] / 1e6, 1)) MB for \(few) segments, "
        + "\(format(peaks[1] / 1e6, 1)) MB for \(segmentCount): ratio \(format(peaks[1] / peaks[0], 3))")
  }

  /// One merge and nothing else, in a process whose peak memory is its own.
  func runChild() throws {
    let directory = options.text("dir") ?? "."
    _ = try merge(
      open(try options.number("merged", default: segmentCount), in: directory), to: directory + "/child")
    print(try peakMemory())
  }

  private func peakOfChild(segments: Int, in directory: String) throws -> Double {
    let (process, pipe) = (Process(), Pipe())
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    process.arguments =
      [Self.childCommand, "--dir", directory, "--merged", "\(segments)", "--segments", "\(segmentCount)"]
      + ["--nlist", "\(trained.nlist)", "--dimension", "\(trained.dimension)"]
    process.standardOutput = pipe
    try process.run()
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard let peak = Double(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw BenchmarkError(text: "the child process ended with status \(process.terminationStatus)")
    }
    return peak
  }

  // MARK: - Work

  /// Lists and codes of a shard, random but the same every time.
  private func makeShard() -> (assignments: [UInt32], codes: [UInt8]) {
    var state: UInt64 = 1
    func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state >> 32
    }
    let assignments = (0..<rowsPerSegment).map { _ in UInt32(next() % UInt64(trained.nlist)) }
    let codes = (0..<(rowsPerSegment * trained.quantizer.codeByteCount)).map { _ in UInt8(next() & 255) }
    return (assignments, codes)
  }

  private func path(_ number: Int, in directory: String) -> String { "\(directory)/\(number).segment" }

  private func write(
    _ number: Int, _ assignments: [UInt32], _ codes: [UInt8], in directory: String
  ) throws -> Int {
    let description = SegmentDescription(
      codec: .sq4, dimension: trained.dimension, nlist: trained.nlist, trainedIndex: trainedDigest,
      shard: .of("shard \(number)"))
    let path = path(number, in: directory)
    let width = trained.quantizer.codeByteCount
    return try SegmentWriter.write(description, assignments: assignments, to: path, temporaryPath: path + ".tmp") {
      order, places, output in
      for (row, place) in order.places.enumerated() where places.contains(Int(place)) {
        let start = (Int(place) - places.lowerBound) * width
        for i in 0..<width { output[start + i] = codes[row * width + i] }
      }
    }.byteCount
  }

  private func open(_ count: Int, in directory: String) throws -> [MergeInput] {
    var firstRowID: Int64 = 0
    return try (0..<count).map { number in
      let input = MergeInput(segment: try SegmentFile(path: path(number, in: directory)), firstRowID: firstRowID)
      firstRowID = input.ids.upperBound
      return input
    }
  }

  private func merge(_ inputs: [MergeInput], to path: String) throws -> OutputShardSummary {
    try OutputShardMerge.write(
      inputs, trained: trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
  }

  /// What `dd bs=4M conv=fsync` does.
  private func writeRaw(_ block: [UInt8], _ byteCount: Int, to path: String) throws {
    let descriptor = Foundation.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o666)
    guard descriptor >= 0 else { throw Disk.systemError("create", path) }
    defer { close(descriptor) }
    var left = byteCount
    while left > 0 {
      let count = Foundation.write(descriptor, block, min(left, block.count))
      guard count > 0 else { throw Disk.systemError("write", path) }
      left -= count
    }
    guard fsync(descriptor) == 0 else { throw Disk.systemError("fsync", path) }
  }

  /// Drops a file's pages from the page cache.
  private func evict(_ path: String) {
    let descriptor = Foundation.open(path, O_RDONLY)
    guard descriptor >= 0 else { return }
    _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
    close(descriptor)
  }
}
