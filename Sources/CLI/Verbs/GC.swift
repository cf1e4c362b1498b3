internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn gc`: remove files that nothing needs.
struct GC: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc", abstract: "Show the files that nothing needs any more; with --apply, remove them.",
    discussion: """
      Outputs of revoked and abandoned versions that no live or pinned version shares, what only their evaluations were
      measured against, nearest images and router labels once nothing is in training, and files that nothing refers to
      are removed when their last use ended longer than --grace ago. With --segments also segments that
      no unfinished output waits for; they are made again from the shards when they are needed. Segments of which nothing
      says whose they are, as after `tarn rebuild-catalog`, go without it. The catalog's rows
      stay. So do the lock file and the document of a revoked version; its names for outputs go with its grace. Work that no unfinished training or build can take up again goes too, as of what was abandoned, and what
      transfers left that nobody continued for as long, and older revisions of shards that --keep-old kept, once nothing
      rests on them. Files that the catalog does not know are listed and never removed.
      It works on a disk without a byte left.

      EXAMPLES
        tarn gc
        tarn gc --apply
        tarn gc --segments --grace 0s --apply
        tarn sql "SELECT kind, count(*), sum(bytes) FROM v_garbage GROUP BY kind"

      Interrupt it at any time: the next `tarn gc --apply` continues.

      \(ExitStatus.help)
      """)

  @Flag(help: "Remove the files; without it nothing changes.")
  var apply = false

  @Option(help: ArgumentHelp("How long a file is kept after its last use.", valueName: "duration"))
  var grace: TimeSpan = TimeSpan(duration: .seconds(7 * 86400))

  @Flag(help: "Also segments that no unfinished output waits for.")
  var segments = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let options = GarbageOptions(grace: grace.duration, includesSegments: segments)
    let catalog = apply ? try writer.open(global, "gc --apply") : try global.read()
    let plan = try catalog.garbage(options)
    var removed: [GarbageItem] = []
    if apply {
      var unwritten: [TarnError] = []
      let progress = global.progress("gc")
      removed = try GarbageRun(catalog, options, cancellation: global.cancellation).collect(
        plan, unwritten: { unwritten.append($0) }, report: { progress.note("removed \($0.path)") })
      progress.clear()
      for error in unwritten { global.warnOfUnwrittenMark(error) }
    }
    global.json ? printJSON(plan, removed) : printText(plan, removed)
    Output.flush()
  }

  private func printJSON(_ plan: GarbagePlan, _ removed: [GarbageItem]) {
    func list(_ items: [GarbageItem]) -> JSONValue {
      .array(
        items.map { item in
          .object([
            "kind": .string(item.kind.rawValue), "sha256": .string(item.digest.hex), "bytes": .count(item.byteCount),
            "path": .string(item.path), "unused_since": .string(item.unusedSince),
          ])
        })
    }
    func files(_ files: [UnknownFile]) -> JSONValue {
      .array(files.map { .object(["path": .string($0.path), "bytes": .count($0.byteCount)]) })
    }
    Output.json([
      "applied": .bool(apply), "removed": list(removed), "due": list(apply ? [] : plan.interrupted + plan.due),
      "waiting": list(plan.waiting), "waiting_files": files(plan.waitingOthers), "leftovers": files(plan.leftovers),
      "parts": .array(
        plan.parts.map { part in
          .object([
            "source": .string(part.source), "shard": .string(part.shard), "bytes": .count(part.byteCount),
            "changed_at": .string(part.changedAt),
          ])
        }),
      "revisions": .array(
        plan.revisions.map { kept in
          .object([
            "source": .string(kept.sourceName), "shard": .string(kept.shardName), "revision": .count(kept.number),
            "sha256": .string(kept.digest.hex), "bytes": .count(kept.byteCount),
            "unused_since": .optional(kept.unusedSince),
          ])
        }),
      "dropped": .array(
        plan.dropped.map { shard in
          .object([
            "source": .string(shard.sourceName), "shard": .string(shard.name),
            "bytes": .count(shard.revision?.byteCount ?? 0),
          ])
        }),
      "unknown": files(plan.unknownFiles),
    ])
  }

  private func printText(_ plan: GarbagePlan, _ removed: [GarbageItem]) {
    func total(_ byteCounts: [Int]) -> String {
      "\(byteCounts.count.counted("file")) (\(ByteSize.text(byteCounts.reduce(0, +))))"
    }
    if !apply {
      for item in plan.interrupted + plan.due {
        Output.line("\(item.path)  \(ByteSize.text(item.byteCount))  unused since \(item.unusedSince)")
      }
    }
    for file in plan.leftovers {
      Output.line(
        "\(file.path)  \(ByteSize.text(file.byteCount))  unfinished work, \(apply ? "removed" : "left over")")
    }
    for part in plan.parts {
      Output.line(
        "\(part.source)/\(part.shard)  \(ByteSize.text(part.byteCount))  part of an interrupted transfer, "
          + (apply ? "removed" : "left over"))
    }
    for kept in plan.revisions {
      Output.line(
        "\(kept.sourceName)/\(kept.shardName)  \(ByteSize.text(kept.byteCount))  older revision \(kept.number), "
          + (apply ? "removed" : "unused since \(kept.unusedSince ?? "")"))
    }
    for shard in plan.dropped {
      Output.line(
        "\(shard.sourceName)/\(shard.name)  \(ByteSize.text(shard.revision?.byteCount ?? 0))  "
          + "of a dropped shard\(apply ? ", removed" : "")")
    }
    // Everything that is named above, whatever it is.
    let others =
      plan.leftovers.map(\.byteCount) + plan.parts.map(\.byteCount) + plan.revisions.map(\.byteCount)
      + plan.dropped.map { $0.revision?.byteCount ?? 0 }
    if apply {
      Output.line("\(total(removed.map(\.byteCount) + others)) removed")
    } else {
      let due = (plan.interrupted + plan.due).map(\.byteCount) + others
      Output.line("\(total(due)) would be removed\(due.isEmpty ? "" : "; --apply removes them")")
    }
    let waiting = plan.waiting.map(\.byteCount) + plan.waitingOthers.map(\.byteCount)
    if !waiting.isEmpty { Output.line("\(total(waiting)) unused, kept for the grace period; --grace shortens it") }
    guard !plan.unknownFiles.isEmpty else { return }
    Output.line("\(plan.unknownFiles.count.counted("file")) that the catalog does not know, left alone:")
    for file in plan.unknownFiles { Output.line("  \(file.path)  \(ByteSize.text(file.byteCount))") }
  }
}
