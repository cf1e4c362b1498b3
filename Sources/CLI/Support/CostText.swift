// What `--dry-run` says of costs.

internal import Base
internal import Foundation
internal import Lake

/// A table of steps and what they cost on this machine.
struct CostText {
  let steps: [StepCost]
  let rates: MachineRates

  /// Seconds of all steps; nil where one was not measured.
  private var seconds: Double? {
    steps.reduce(0.0) { sum, step in sum.flatMap { sum in step.seconds.map { sum + $0 } } }
  }

  /// The table as members of a JSON document.
  var json: [String: JSONValue] {
    [
      "steps": .array(
        steps.map {
          .object([
            "step": .string($0.step), "seconds": $0.seconds.map { .number($0) } ?? .null,
            "memory_bytes": .count($0.memoryByteCount), "disk_bytes": .count($0.diskByteCount),
          ])
        }),
      "seconds": seconds.map { .number($0) } ?? .null,
      "measured_here": .object([
        "assigned_products_per_second": .number(rates.assigned),
        "compared_products_per_second": .number(rates.compared),
        "encoded_components_per_second": .number(rates.encoded), "hashed_bytes_per_second": .number(rates.hashed),
        "written_bytes_per_second": rates.written.map { .number($0) } ?? .null,
      ]),
    ]
  }

  /// The table for people.
  var lines: [String] {
    func time(_ seconds: Double?) -> String { seconds.map { TimeSpan.text(seconds: $0) } ?? "not measured" }
    let rows =
      [["step", "time", "memory", "disk"]]
      + steps.map { [$0.step, time($0.seconds), ByteSize.text($0.memoryByteCount), ByteSize.text($0.diskByteCount)] }
      + [
        [
          "all", time(seconds), ByteSize.text(steps.map(\.memoryByteCount).max() ?? 0),
          ByteSize.text(steps.reduce(0) { $0 + $1.diskByteCount }),
        ]
      ]
    let widths = (0..<4).map { column in rows.map { $0[column].count }.max() ?? 0 }
    let table = rows.map { row in
      zip(row, widths).enumerated().map { column, cell in
        let pad = String(repeating: " ", count: cell.1 - cell.0.count)
        return column == 0 ? cell.0 + pad : pad + cell.0
      }.joined(separator: "  ")
    }
    func giga(_ rate: Double) -> String { String(format: "%.0f", rate / 1e9) }
    let written = rates.written.map { "\(ByteSize.text(Int($0)))/s written" } ?? "writing not measured"
    return table + [
      "measured here: \(giga(rates.assigned)) thousand million products/s assigned, \(giga(rates.compared)) compared, \(String(format: "%.1f", rates.encoded / 1e9)) thousand million components/s encoded, \(ByteSize.text(Int(rates.hashed)))/s hashed, \(written)"
    ]
  }
}

extension GlobalOptions {
  /// What a command would cost: the sizes are the catalog's, the rates this machine's.
  struct Estimate: Sendable {
    /// Components of a vector.
    let dimension: Int
    let codec: VectorCodec
    let steps: @Sendable (MachineRates) -> [StepCost]
  }

  /// Says what a command would cost, for `--dry-run`.
  ///
  /// - Parameters:
  ///   - catalog: The lake.
  ///   - name: What it would make.
  ///   - key: What such a thing is called in a document.
  ///   - estimate: The sizes, on a thread that may block.
  /// - Throws: ``TarnError``; what `estimate` throws.
  func tellCost(
    in catalog: LakeCatalog, of name: String, as key: String,
    _ estimate: @escaping @Sendable () throws -> Estimate
  ) async throws {
    let logger = self.logger("tarn.cost")
    let text = try await ThreadedWork("tarn-measure") {
      let estimate = try estimate()
      let rates = try MachineRates.measured(
        dimension: estimate.dimension, codec: estimate.codec, below: catalog.layout.root, logger: logger)
      return CostText(steps: estimate.steps(rates), rates: rates)
    }.value()
    if json {
      Output.json(text.json.merging([key: .string(name)]) { $1 })
    } else {
      text.lines.forEach(Output.line)
    }
    Output.flush()
  }
}
