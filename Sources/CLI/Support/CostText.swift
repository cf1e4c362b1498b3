// What `--dry-run` says of costs.

internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// The option of the verbs that can say what they would cost.
struct CostOption: ParsableArguments {
  @Flag(
    name: .customLong("dry-run"), help: "Say what each step would take here in time, memory and disk, and do nothing.")
  var dryRun = false
}

/// A table of steps and what they cost on this machine.
struct CostText {
  let steps: [StepCost]
  let rates: MachineRates
  let unknown: UnknownRows?

  /// Seconds of all steps; nil where one was not measured.
  private var seconds: Double? {
    steps.reduce(0.0) { sum, step in sum.flatMap { sum in step.seconds.map { sum + $0 } } }
  }

  /// Bytes on the disk of all steps; nil where those of one are not known.
  private var diskByteCount: Int? {
    steps.reduce(0) { sum, step in sum.flatMap { sum in step.diskByteCount.map { sum + $0 } } }
  }

  /// The table as members of a JSON document.
  var json: [String: JSONValue] {
    [
      "steps": .array(
        steps.map {
          .object([
            "step": .string($0.step), "seconds": .optionalNumber($0.seconds),
            "memory_bytes": .count($0.memoryByteCount), "disk_bytes": .optionalCount($0.diskByteCount),
          ])
        }),
      "seconds": .optionalNumber(seconds), "shards_of_unknown_rows": .count(unknown?.count ?? 0),
      "measured_here": .object([
        "assigned_products_per_second": .number(rates.assigned),
        "compared_products_per_second": .number(rates.compared),
        "encoded_components_per_second": .number(rates.encoded), "hashed_bytes_per_second": .number(rates.hashed),
        "written_bytes_per_second": .optionalNumber(rates.written), "threads": .count(rates.threadCount),
      ]),
    ]
  }

  /// The table for people.
  var lines: [String] {
    func time(_ seconds: Double?, _ disk: Int?) -> String {
      seconds.map { TimeSpan.text(seconds: $0) } ?? (disk == nil ? "not known" : "not measured")
    }
    func room(_ disk: Int?) -> String { disk.map { ByteSize.text($0) } ?? "not known" }
    let rows =
      [["step", "time", "memory", "disk"]]
      + steps.map {
        [$0.step, time($0.seconds, $0.diskByteCount), ByteSize.text($0.memoryByteCount), room($0.diskByteCount)]
      }
      + [
        [
          "all", time(seconds, diskByteCount), ByteSize.text(steps.map(\.memoryByteCount).max() ?? 0),
          room(diskByteCount),
        ]
      ]
    func giga(_ rate: Double) -> String { String(format: "%.0f", rate / 1e9) }
    let written = rates.written.map { "\(ByteSize.text(Int($0)))/s written" } ?? "writing not measured"
    let measured =
      "measured here: \(giga(rates.assigned)) billion products/s assigned, \(giga(rates.compared)) compared, "
      + "\(String(format: "%.1f", rates.encoded / 1e9)) billion components/s encoded, "
      + "\(ByteSize.text(Int(rates.hashed)))/s hashed, \(written)"
    let left = unknown.map { "the rows of \($0.count) of \($0.total.counted("shard")) are not known: \($0.told)" }
    let layout = TextColumns(rows) { $0 > 0 }
    let none = steps.isEmpty ? "it was made before: there is nothing to do" : nil
    return rows.map { layout.line($0) } + [left, none, measured].compactMap(\.self)
  }
}

extension GlobalOptions {
  /// Says what a build would cost, and makes its checks, for `--dry-run`.
  ///
  /// - Parameters:
  ///   - options: What would be built.
  ///   - budget: Bytes of shards that the lake would hold at most; nil for as many as there are.
  ///   - room: What the user wants free.
  ///   - tasks: Who would write it as tasks; nil where this process builds.
  /// - Throws: ``TarnError``, as the verb itself would.
  func tellCost(
    of options: BuildOptions, within budget: ByteSize? = nil, keeping room: RoomOptions?,
    tasks: ((LakeCatalog) async throws -> TaskPlanning)? = nil
  ) async throws {
    let catalog = try read(lakeRoot(), keeping: room)
    let planning = try await tasks?(catalog)
    let followed = try options.following(catalog)
    if followed.shardsPerOutput != options.shardsPerOutput {
      let layout = "\(followed.shardsPerOutput.counted("shard")) per output"
      Output.diagnostic("tarn: \(layout), as the last version of \(options.name) has")
    }
    let run = BuildRun(
      catalog, followed, logger: logger("tarn.build"), cancellation: cancellation, report: { _ in })
    try await tellCost(in: catalog, of: options.name, as: "name") {
      let cost = try planning.map { try $0.cost() } ?? run.cost(within: budget?.byteCount)
      let codec = try VectorCodec(rawValue: catalog.trainedIndex(named: options.trained).codec) ?? .flat
      return Estimate(
        dimension: cost.dimension, codec: codec, assignedCount: cost.assignedCount, unknown: cost.unknown,
        steps: cost.steps)
    }
  }

  /// Says what a training would cost, and makes its checks, for `--dry-run`.
  ///
  /// - Parameters:
  ///   - options: What would be trained.
  ///   - stream: How shards that are not in the lake would be fetched.
  ///   - room: What the user wants free.
  ///   - tasks: Where its searches would be written; nil where this process makes them.
  /// - Throws: ``TarnError``, as the verb itself would.
  func tellCost(
    of options: TrainingOptions, fetching stream: StreamOptions, keeping room: RoomOptions,
    tasks: ((LakeCatalog) async throws -> TaskDirectory)? = nil
  ) async throws {
    let catalog = try read(lakeRoot(), keeping: room)
    let directory = try await tasks?(catalog)
    let (fetches, budget) = (stream.isFetching, stream.budget?.byteCount)
    let run = TrainingRun(
      catalog, options, logger: logger("tarn.train"), cancellation: cancellation, report: { _ in })
    try await tellCost(in: catalog, of: options.name, as: "trained_index") {
      let cost = try run.cost(fetches: fetches, within: budget, in: directory)
      return Estimate(
        dimension: cost.dimension, codec: options.codec, assignedCount: cost.assignedCount, unknown: cost.unknown,
        steps: cost.steps)
    }
  }

  /// What a command would cost: the sizes are the catalog's, the rates this machine's.
  private struct Estimate: Sendable {
    /// Components of a vector.
    let dimension: Int
    let codec: VectorCodec
    /// Pairs of vectors and rows of the largest assignment.
    let assignedCount: Double
    let unknown: UnknownRows?
    let steps: @Sendable (MachineRates) -> [StepCost]
  }

  /// Says what a command would cost.
  ///
  /// - Parameters:
  ///   - catalog: The lake.
  ///   - name: What it would make.
  ///   - key: What such a thing is called in a document.
  ///   - estimate: The sizes, on a thread that may block.
  /// - Throws: ``TarnError``; what `estimate` throws.
  private func tellCost(
    in catalog: LakeCatalog, of name: String, as key: String,
    _ estimate: @escaping @Sendable () throws -> Estimate
  ) async throws {
    let logger = self.logger("tarn.cost")
    let text = try await ThreadedWork("tarn-measure") {
      try catalog.requireWritable()
      let estimate = try estimate()
      let rates = try MachineRates.measured(
        dimension: estimate.dimension, codec: estimate.codec, assignedCount: estimate.assignedCount,
        below: catalog.layout.root, logger: logger)
      return CostText(steps: estimate.steps(rates), rates: rates, unknown: estimate.unknown)
    }.value()
    if json {
      Output.json(text.json.merging([key: .string(name)]) { $1 })
    } else {
      text.lines.forEach(Output.line)
    }
    Output.flush()
  }
}
