internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake
internal import Report

/// `tarn status`: what is here and what is left.
struct Status: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what is in the lake and what is left to do.",
    discussion: """
      Builds and trainings that `--executor` has under way are shown with how far their tasks are, as receipts, what failed
      workers left and the notes of engines say: no scheduler is asked. `tarn plan --again DIR` says it of any directory.

      EXAMPLES
        tarn status
        tarn status --watch
        tarn status --report shards.html

      \(ExitStatus.help)
      """)

  @Flag(help: "Show it again every two seconds, until interrupted.")
  var watch = false

  @Option(help: ArgumentHelp("Write a page with a square for every shard instead.", valueName: "file.html"))
  var report: String?

  @OptionGroup var global: GlobalOptions

  func validate() throws {
    guard report == nil || !watch else {
      throw ValidationError("--report is written once; it does not go with --watch.")
    }
  }

  private static let sections: [(name: String, sql: String)] = [
    (
      "sources",
      """
      SELECT source, shards, present, fetching, evicted, failed, dropped, rows, present_bytes, known_bytes
      FROM v_source ORDER BY source
      """
    ),
    (
      "trained_indexes",
      "SELECT trained_index, state, method, codec, nlist, pairs, \(LakeLook.iterationsDone) AS iterations_done, iterations FROM v_trained_index ORDER BY trained_index"
    ),
    (
      "versions",
      """
      SELECT version, state, inputs, holes, encoded, inputs_left, outputs_done, outputs, rows_encoded FROM v_build_progress
      ORDER BY version
      """
    ),
    // Those that were pulled under another name than their publisher's.
    ("published", "SELECT version, published_as FROM v_version WHERE published_as IS NOT NULL ORDER BY version"),
    ("storage", "SELECT kind, files, bytes FROM v_storage ORDER BY kind"),
  ]

  func run() async throws {
    if let report {
      let catalog = try global.read()
      try OutputPlace.check(report, besides: catalog.layout)
      let page = try ReportPage.status(catalog)
      try Disk.writeAtomically(Array(page.text.utf8), to: report)
      if global.json { Output.json(["report": .string(report)]) }
      Output.flush()
      return
    }
    let isScreen = watch && !global.json && Output.Stream.data.isLive
    var screen = WatchScreen()
    while true {
      if isScreen {
        screen.take(try LakeLook(global.read()), at: .now)
        Output.screen(screen.lines(size: Output.Stream.data.size, clock: Timestamp.clock(.now)))
      } else {
        try printOnce()
        guard watch else { return }
        // Where nothing can be drawn anew, looks follow each other.
        if !global.json { Output.line("\n-- \(Timestamp.now())") }
        Output.flush()
      }
      try await Task.sleep(for: .seconds(2))
    }
  }

  /// What transfers under way and interrupted ones take, as a row of the storage.
  private static func parts(_ catalog: LakeCatalog) throws -> [SQLValue]? {
    let parts = try catalog.interruptedTransfers()
    guard !parts.isEmpty else { return nil }
    return [
      .text("part"), .integer(Int64(parts.reduce(0) { $0 + $1.files.count })),
      .integer(Int64(parts.reduce(0) { $0 + $1.byteCount })),
    ]
  }

  /// Most tasks that failed that are shown of a directory; `--json` has all.
  private static let shownFailureCount = 10

  /// Shows how far the tasks are that others carry out.
  private func show(_ tasks: [TasksUnderWay]) {
    let columns = ["tasks_of", "tasks"] + TaskStanding.State.allCases.map(\.rawValue)
    var table = Table(columns)
    var failed = Table(["tasks_of", "task", "host", "exit", "ended_at", "reason"])
    var lines: [String] = []
    for one in tasks {
      guard let standing = one.standing else {
        Output.diagnostic("tarn: \(one.fault ?? one.directory.path)")
        continue
      }
      let counts = TaskStanding.State.allCases.map { SQLValue.integer(Int64(standing.count(of: $0))) }
      table.add([.text(one.subject), .integer(Int64(standing.states.count))] + counts)
      for failure in standing.failures.prefix(Self.shownFailureCount) {
        failed.add([
          .text(one.subject), .integer(Int64(failure.task)), .text(failure.word.host),
          .integer(Int64(failure.word.status)), .text(failure.word.endedAt), .text(failure.word.message),
        ])
      }
      let more = standing.failures.count - Self.shownFailureCount
      if more > 0 { lines.append("\(more) more of \(one.subject) failed; --json has all") }
    }
    guard tasks.contains(where: { $0.standing != nil }) else { return }
    Output.line("")
    table.print(as: .table)
    if tasks.contains(where: { $0.standing?.failures.isEmpty == false }) {
      Output.line("")
      failed.print(as: .table)
      for line in lines { Output.line(line) }
    }
  }

  private func printOnce() throws {
    let catalog = try global.read()
    let tasks = try TasksUnderWay.all(in: catalog)
    let console = try QueryConsole(layout: catalog.layout, timeLimit: nil)
    let parts = try Self.parts(catalog)
    if global.json {
      var document: [String: JSONValue] = ["lake": .string(catalog.layout.root)]
      for section in Self.sections {
        var rows: [JSONValue] = []
        try console.run(section.sql) { columns, values in
          if let values { rows.append(.object(Table.object(columns, values))) }
        }
        if section.name == "storage", let parts {
          rows.append(.object(Table.object(["kind", "files", "bytes"], parts)))
        }
        document[section.name] = .array(rows)
      }
      document["tasks"] = .array(
        tasks.map { one in
          let members: [String: JSONValue] = [
            "of": .string(one.subject), "directory": .string(one.directory.path), "fault": .optional(one.fault),
          ]
          return .object(members.merging(one.standing?.json ?? [:]) { $1 })
        })
      Output.json(document)
      Output.flush()
      return
    }
    Output.line("lake \(catalog.layout.root)")
    for section in Self.sections {
      var table = Table([])
      var count = 0
      try console.run(section.sql) { columns, values in
        guard let values else {
          table = Table(columns)
          return
        }
        table.add(values)
        count += 1
      }
      if section.name == "storage", let parts {
        table.add(parts)
        count += 1
      }
      guard count > 0 else { continue }
      Output.line("")
      table.print(as: .table)
    }
    show(tasks)
    Output.flush()
  }
}
