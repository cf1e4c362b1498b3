// One page that can be kept or sent: no script, no network, light and dark.

internal import Base
internal import Foundation
internal import Lake

/// A page of sections.
struct ReportPage {
  let title: String
  let sections: [String]

  /// The whole page, well-formed as XML too.
  var text: String {
    """
    <!DOCTYPE html>
    <html xmlns="http://www.w3.org/1999/xhtml" lang="en">
    <head><meta charset="utf-8"/><meta name="viewport" content="width=device-width"/>
    <meta name="color-scheme" content="light dark"/><title>\(Markup.text(title))</title>
    <style>\(Self.style)</style></head>
    <body><main><h1>\(Markup.text(title))</h1>
    \(sections.joined(separator: "\n"))
    <footer>tarn \(Tool.version), \(Timestamp.now())</footer></main></body></html>

    """
  }

  private static let style = """
    :root{--page:#fff;--ink:#1b1f24;--soft:#57606a;--rule:#d8dee4;--c0:#0b62a8;--c1:#c4500a;--c2:#1a7f4b;--c3:#9a3fa0;
    --c4:#8a6d00;--c5:#b3243b;--c6:#3f7d85;--c7:#5a5a5a;--ok:#2da44e;--done:#0b62a8;--half:#8cc5f5;--wait:#dfe3e8;
    --bad:#cf222e;--warn:#d4a72c}
    @media (prefers-color-scheme:dark){:root{--page:#0f1318;--ink:#e4e9ee;--soft:#9aa4af;--rule:#2d343c;--c0:#6cb6ff;
    --c1:#f69d50;--c2:#57c785;--c3:#dba0e8;--c4:#d9b92e;--c5:#ff8095;--c6:#7fd0d8;--c7:#b0b0b0;--ok:#3fb950;
    --done:#58a6ff;--half:#1f4f7d;--wait:#2a3038;--bad:#f85149;--warn:#d4a72c}}
    body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
    main{max-width:1180px;margin:0 auto;padding:24px}h1{font-size:24px}h2{font-size:18px;margin-top:36px}
    h3{font-size:15px;margin:20px 0 6px}.pair{display:flex;flex-wrap:wrap;gap:20px}.pair svg{flex:1 1 420px}
    .chart{width:100%;max-width:620px}.shards{width:100%;max-width:960px;display:block}
    .grid line,line.grid{stroke:var(--rule)}text{fill:var(--soft);font-size:11px}.end{text-anchor:end}
    .middle{text-anchor:middle}text.axis{font-size:12px}polyline{fill:none;stroke-width:2}
    .routing{stroke-dasharray:4 4;stroke-width:1.2}.error{stroke-width:1}
    \((0..<8).map { "polyline.c\($0),line.c\($0){stroke:var(--c\($0))}.dot.c\($0),.bar.c\($0){fill:var(--c\($0))}.key.c\($0){background:var(--c\($0))}" }.joined())
    table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
    th,td{padding:3px 10px;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}
    th:first-child,td:first-child{text-align:left}.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:4px 18px;
    color:var(--soft);font-size:13px}.key{display:inline-block;width:11px;height:11px;margin-right:6px;border-radius:2px}
    .s-present{fill:var(--ok);background:var(--ok)}.s-merged{fill:var(--done);background:var(--done)}
    .s-encoded,.s-evicted,.s-evicting{fill:var(--half);background:var(--half)}
    .s-registered,.s-waiting{fill:var(--wait);background:var(--wait)}.s-fetching{fill:var(--warn);background:var(--warn)}
    .s-failed,.s-absent,.s-hole{fill:var(--bad);background:var(--bad)}
    .lineage{display:flex;flex-wrap:wrap;align-items:center;gap:8px}.lineage div{border:1px solid var(--rule);
    border-radius:6px;padding:8px 12px}.lineage b{display:block}code{font-size:12px}footer{margin-top:40px;color:var(--soft)}
    """
}

extension ReportPage {
  /// The page of evaluations: curves, list sizes, shards and lineage of each
  /// version.
  ///
  /// - Parameters:
  ///   - evaluations: At least one.
  ///   - k: The depth of the curves.
  ///   - catalog: Says what the versions are made of.
  /// - Returns: The page.
  /// - Throws: ``TarnError``.
  static func of(_ evaluations: [Evaluation], k: Int, _ catalog: LakeCatalog) throws -> ReportPage {
    let console = try QueryConsole(layout: catalog.layout, timeLimit: nil)
    let names = evaluations.enumerated().map { index, evaluation in
      "<li><span class=\"key c\(index % 8)\"></span>\(Markup.text("\(evaluation.version)")): imbalance "
        + "\(String(format: "%.2f", evaluation.imbalance)), nlist \(evaluation.nlist)</li>"
    }
    let first = evaluations[0]
    let legend = "<ul class=\"legend\">\(names.joined())<li>solid: came back; dashed: in a visited list</li></ul>"
    var sections = [
      "<p>\(first.queryCount) queries of <code>\(Markup.text(first.queries))</code> (sha256 "
        + "<code>\(first.queriesDigest.prefix(16))…</code>) against exact search over \(first.rowCount) rows.</p>",
      "<section id=\"recall\"><h2>Recall</h2>\(legend)<div class=\"pair\">",
      RecallChart(evaluations: evaluations, cost: .share, k: k).svg,
      RecallChart(evaluations: evaluations, cost: .nprobe, k: k).svg, "</div>", table(evaluations), "</section>",
      "<section id=\"lists\"><h2>List sizes</h2>", ListSizeChart(evaluations: evaluations).svg, "</section>",
      "<section id=\"lineage\"><h2>Lineage</h2>",
    ]
    for evaluation in evaluations { sections.append(try lineage(of: evaluation.version, catalog)) }
    sections.append("</section><section id=\"shards\"><h2>Shards</h2>")
    for evaluation in evaluations {
      sections += try ShardGrid.ofVersions(console, evaluation.version).map(\.section)
    }
    sections.append("</section>")
    let title = evaluations.map { "\($0.version)" }.joined(separator: ", ")
    return ReportPage(title: "Evaluation of \(title)", sections: sections)
  }

  /// The page of `tarn status`: the shards of sources and versions.
  static func status(_ catalog: LakeCatalog) throws -> ReportPage {
    let console = try QueryConsole(layout: catalog.layout, timeLimit: nil)
    let sources = try ShardGrid.ofSources(console).map(\.section)
    let versions = try ShardGrid.ofVersions(console).map(\.section)
    return ReportPage(
      title: "Shards of \(catalog.layout.root)",
      sections: ["<section id=\"sources\"><h2>Sources</h2>"] + sources
        + ["</section><section id=\"versions\"><h2>Versions</h2>"] + versions + ["</section>"])
  }

  private static func table(_ evaluations: [Evaluation]) -> String {
    let depths = evaluations[0].points.first?.recalls.map(\.k) ?? []
    let heads =
      ["version", "nprobe", "scanned"] + depths.flatMap { ["recall@\($0)", "routing@\($0)"] } + ["queries/s"]
    var rows = ["<tr>\(heads.map { "<th>\($0)</th>" }.joined())</tr>"]
    for evaluation in evaluations {
      for point in evaluation.points {
        let share = 100 * point.vectorsScanned / Double(max(evaluation.rowCount, 1))
        let cells =
          ["\(evaluation.version)", "\(point.nprobe)", String(format: "%.3f %%", share)]
          + point.recalls.flatMap { [String(format: "%.4f", $0.recall), String(format: "%.4f", $0.routingRecall)] }
          + [String(format: "%.0f", Double(evaluation.queryCount) / point.seconds)]
        rows.append("<tr>\(cells.map { "<td>\(Markup.text($0))</td>" }.joined())</tr>")
      }
    }
    return "<table>\(rows.joined(separator: "\n"))</table>"
  }

  private static func lineage(of name: VersionName, _ catalog: LakeCatalog) throws -> String {
    let version = try catalog.version(name)
    let trained = try catalog.trainedIndex(id: version.trainedIndexID)
    let inputs = try catalog.inputs(of: version)
    let outputs = try catalog.outputs(of: version)
    func box(_ title: String, _ lines: [String]) -> String {
      "<div><b>\(Markup.text(title))</b>\(lines.map { Markup.text($0) }.joined(separator: "<br/>"))</div>"
    }
    let arrow = "<span>→</span>"
    let learnt =
      [try catalog.source(id: trained.imageSourceID).name]
      + (try trained.captionSourceID.map { [try catalog.source(id: $0).name] } ?? [])
    return "<div class=\"lineage\">"
      + [
        box("trained on", learnt + ["\(trained.pairCount) pairs, seed \(trained.seed)"]),
        box(
          trained.name,
          [
            "\(trained.method), router \(trained.router ?? "none")", "nlist \(trained.nlist), \(trained.codec)",
            "sha256 \(trained.digest?.prefix(16) ?? "")…",
          ]),
        box(
          "filled from \(try catalog.source(id: version.sourceID).name)",
          ["\(inputs.count) shards, \(inputs.count { $0.isHole }) left out"]),
        box(
          "\(name)",
          [
            "\(outputs.count) files, \(outputs.reduce(0) { $0 + $1.rowCount }) rows",
            "sha256 \(version.versionDigest?.prefix(16) ?? "")…",
          ]),
      ].joined(separator: arrow) + "</div>"
  }
}
