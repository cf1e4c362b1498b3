internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake
internal import Report

/// `tarn status`: what is here and what is left.
struct Status: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show what is in the lake and what is left to do.",
    discussion: """
      Builds and trainings that `--executor` has under way are shown with how far their tasks are, as receipts, what failed
      workers left and the notes of engines say: no scheduler is asked. `tarn plan --again DIR` says it of any directory.
      A training that is under way has the iterations that are done; of one that was killed, or ended before its end, it is
      said that it is stopped (`stopped` in --json): the same `tarn train` goes on.
      As fetching count shards that a living command fetches; what a killed one left in `v_source` does not.

      --watch shows on a terminal how fast bytes come and rows are encoded (over the last minute), how long is left, what
      holds it up, hosts that are waited for, what failed last, and who is at work, whoever started it. It can be left open: a
      catalog that cannot be read for a while is a line on the screen. Elsewhere it prints what `tarn status` prints, again
      and again.

      EXAMPLES
        tarn status
        tarn status --watch
        tarn status --report shards.html

      \(ExitStatus.help)
      """)

  @Flag(help: "Show what is under way every two seconds, until q or Ctrl-C.")
  var watch = false

  @Option(
    help: ArgumentHelp("Write a page with a square for every shard instead.", valueName: "file.html"),
    completion: .file())
  var report: String?

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

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
    let root = try global.lakeRoot()
    guard watch else { return try printOnce(global.read(root)) }
    Interruption.leaveNothing()
    if !global.json, Output.Stream.data.isLive { return try await watchScreen(root) }
    // Where nothing can be drawn anew, looks follow each other.
    for look in 0... {
      do {
        try printOnce(global.read(root))
      } catch let error as TarnError where look > 0 || error.code == .locked {
        if global.json { Output.json(["error": .string(error.description)]) } else { Output.line(error.description) }
      }
      if !global.json {
        Output.line("")
        Output.line("-- \(Timestamp.now())")
      }
      Output.flush()
      try await Task.sleep(for: Self.pause)
    }
  }

  /// Between two looks.
  private static let pause = Duration.seconds(2)
  /// Looks between two at the tasks, of which there may be thousands in a directory on another machine.
  private static let looksOfTasks = 5

  /// After which a look is said to be waited for.
  private static let answerTime = Duration.seconds(1)

  /// Shows a screen until somebody has seen enough; a lake that cannot be read is a line on it.
  ///
  /// Looks are made on a thread of their own: one that waits for whoever has the catalog locked keeps neither the keys
  /// nor the clock waiting.
  private func watchScreen(_ root: String) async throws {
    var (screen, tasks, lookCount) = (LakeScreen(), [String](), 0)
    var look: (work: ThreadedWork<(look: LakeLook, tasks: [String])>, began: ContinuousClock.Instant, clock: String)?
    var next = ContinuousClock.now
    var shown: (size: (columns: Int, rows: Int), at: ContinuousClock.Instant)?
    defer { Output.leaveScreen() }
    while true {
      let now = ContinuousClock.now
      if let made = look, let outcome = made.work.outcome {
        do {
          let seen = try outcome.get()
          tasks = seen.tasks
          screen.take(seen.look, at: now)
        } catch let error as TarnError where lookCount > 1 || error.code == .locked {
          screen.take(error, since: made.clock)
        }
        (look, shown, next) = (nil, nil, now + Self.pause)
      } else if let made = look, now - made.began > Self.answerTime {
        screen.wait(since: made.clock)
        if let last = shown, now - last.at > Self.answerTime { shown = nil }
      } else if look == nil, now >= next {
        let (isOfTasks, before, known) = (lookCount % Self.looksOfTasks == 0, screen.newest, tasks)
        lookCount += 1
        let work = ThreadedWork("tarn-look") { [global] in
          let catalog = try global.read(root)
          let tasks = try isOfTasks ? TasksUnderWay.all(in: catalog).flatMap(\.lines) : known
          return (look: try LakeLook(catalog, after: before, tasks: tasks), tasks: tasks)
        }
        look = (work, now, Timestamp.clock(.now))
      }
      // Behind another job the screen is that one's.
      if Output.Stream.data.isInFront {
        Keyboard.listen()
        let size = Output.Stream.data.size
        if screen.hasNews, shown.map({ $0.size != size }) ?? true {
          Output.screen(screen.lines(size: size, clock: Timestamp.clock(.now)))
          shown = (size, now)
        }
        if Keyboard.keys.contains(where: "qQ".utf8.contains) { return }
      } else {
        shown = nil
      }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  /// What transfers under way and interrupted ones take, as a row of the storage.
  private static func parts(_ catalog: LakeCatalog) throws -> [SQLValue]? {
    let parts: [InterruptedTransfer]
    do {
      parts = try catalog.interruptedTransfers()
    } catch let error as TarnError where error.code == .io {
      // Who may not look into the directories of shards is told the rest.
      return nil
    }
    guard !parts.isEmpty else { return nil }
    return [
      .text("part"), .integer(Int64(parts.reduce(0) { $0 + $1.files.count })),
      .integer(Int64(parts.reduce(0) { $0 + $1.byteCount })),
    ]
  }

  /// A row of a section as it is shown: nothing is being fetched where no living command fetches, whatever a killed
  /// one has left in the catalog, which the next that writes settles.
  private static func settled(_ columns: [String], _ values: [SQLValue], _ fetched: Set<String>) -> [SQLValue] {
    guard let place = columns.firstIndex(of: "fetching"), case .text(let source)? = values.first,
      !fetched.contains(source)
    else { return values }
    var values = values
    values[place] = .integer(0)
    return values
  }

  /// Most tasks that failed, and most that are silent, that are shown of a directory; `--json` has all.
  private static let shownFailureCount = 10

  /// Shows how far the tasks are that others carry out.
  private func show(_ tasks: [TasksUnderWay]) {
    let columns = ["tasks_of", "tasks"] + TaskStanding.State.allCases.map(\.rawValue)
    var table = Table(columns)
    var failed = Table(["tasks_of", "task", "host", "exit", "ended_at", "reason"])
    var (lines, silent): ([String], [String]) = ([], [])
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
      silent += standing.silences.prefix(Self.shownFailureCount).map { "task \($0.task) of \(one.subject) \($0.words)" }
      let others = standing.silences.count - Self.shownFailureCount
      if others > 0 { silent.append("\(others) more of \(one.subject) are as silent; --json has all") }
    }
    guard tasks.contains(where: { $0.standing != nil }) else { return }
    Output.line("")
    table.print(as: .table)
    for line in silent { Output.line(line) }
    if tasks.contains(where: { $0.standing?.failures.isEmpty == false }) {
      Output.line("")
      failed.print(as: .table)
      for line in lines { Output.line(line) }
    }
  }

  private func printOnce(_ catalog: LakeCatalog) throws {
    let tasks = try TasksUnderWay.all(in: catalog)
    let parts = try Self.parts(catalog)
    let fetched = try catalog.sourcesBeingFetched()
    let stopped = try catalog.stoppedTrainings()
    if global.json {
      var document: [String: JSONValue] = ["lake": .string(catalog.layout.root)]
      for section in Self.sections {
        var rows: [JSONValue] = []
        try catalog.query(section.sql) { columns, values in
          guard let values else { return }
          var row = Table.object(columns, Self.settled(columns, values, fetched))
          if section.name == "trained_indexes", case .text(let name)? = values.first {
            row["stopped"] = .bool(stopped.contains(name))
          }
          rows.append(.object(row))
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
      try catalog.query(section.sql) { columns, values in
        guard let values else {
          table = Table(columns)
          return
        }
        table.add(Self.settled(columns, values, fetched))
        count += 1
      }
      if section.name == "storage", let parts {
        table.add(parts)
        count += 1
      }
      guard count > 0 else { continue }
      Output.line("")
      table.print(as: .table)
      guard section.name == "trained_indexes" else { continue }
      for name in stopped.sorted() {
        Output.line("training \(name): \(LakeLook.stoppedTraining), `tarn abandon \(name)` gives it up")
      }
    }
    show(tasks)
    if try catalog.sources().isEmpty {
      Output.line("")
      Output.line("no source is registered yet: `tarn source add` registers one")
    }
    Output.flush()
  }
}
