// One page that can be kept or sent: no script, no network, light and dark.

package import Base
internal import Foundation

/// A page of sections.
package struct ReportPage {
  let title: String
  let sections: [String]
  /// Who made the page, and when.
  let footer: String

  /// The whole page, well-formed as XML too.
  package var text: String {
    """
    <!DOCTYPE html>
    <html xmlns="http://www.w3.org/1999/xhtml" lang="en">
    <head><meta charset="utf-8"/><meta name="viewport" content="width=device-width"/>
    <meta name="color-scheme" content="light dark"/><title>\(Markup.text(title))</title>
    <style>\(Self.style)</style></head>
    <body><main><h1>\(Markup.text(title))</h1>
    \(sections.joined(separator: "\n"))
    <footer>\(Markup.text(footer))</footer></main></body></html>

    """
  }

  /// The style of everything that this module draws.
  package static let style = """
    :root{--page:#fff;--ink:#1b1f24;--soft:#57606a;--rule:#d8dee4;--c0:#0b62a8;--c1:#c4500a;--c2:#1a7f4b;--c3:#9a3fa0;
    --c4:#8a6d00;--c5:#b3243b;--c6:#3f7d85;--c7:#5a5a5a;--ok:#2da44e;--done:#0b62a8;--half:#8cc5f5;--wait:#dfe3e8;
    --bad:#cf222e;--warn:#d4a72c}
    @media (prefers-color-scheme:dark){:root{--page:#0f1318;--ink:#e4e9ee;--soft:#9aa4af;--rule:#2d343c;--c0:#6cb6ff;
    --c1:#f69d50;--c2:#57c785;--c3:#dba0e8;--c4:#d9b92e;--c5:#ff8095;--c6:#7fd0d8;--c7:#b0b0b0;--ok:#3fb950;
    --done:#58a6ff;--half:#1f4f7d;--wait:#2a3038;--bad:#f85149;--warn:#d4a72c}}
    body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
    main{max-width:1180px;margin:0 auto;padding:24px}h1{font-size:24px}h2{font-size:18px;margin-top:36px}
    h3{font-size:15px;margin:20px 0 6px}.pair{display:flex;flex-wrap:wrap;gap:20px;overflow-x:auto}.pair svg{flex:1 1 420px}
    .chart{width:100%;min-width:420px;max-width:620px}.shards{max-width:100%;height:auto;display:block}
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
  ///   - lineages: What each version is made of, in their order.
  ///   - grids: The shards of the versions.
  ///   - footer: Who makes the page, and when.
  /// - Returns: The page.
  package static func evaluations(
    _ evaluations: [Evaluation], k: Int, lineages: [Lineage], grids: [ShardGrid], footer: String
  ) -> ReportPage {
    var sections = [curves(of: evaluations, k: k), "<section id=\"lineage\"><h2>Lineage</h2>"]
    sections += lineages.map(\.section)
    sections.append("</section><section id=\"shards\"><h2>Shards</h2>")
    sections += grids.map(\.section)
    sections.append("</section>")
    let title = evaluations.map { "\($0.version)" }.joined(separator: ", ")
    return ReportPage(title: "Evaluation of \(title)", sections: sections, footer: footer)
  }

  /// Recall and list sizes of evaluations: charts, and the numbers in a table.
  ///
  /// - Parameters:
  ///   - evaluations: At least one.
  ///   - k: The depth of the curves.
  /// - Returns: Elements.
  package static func curves(of evaluations: [Evaluation], k: Int) -> String {
    let names = evaluations.enumerated().map { index, evaluation in
      "<li><span class=\"key c\(index % 8)\"></span>\(Markup.text("\(evaluation.version)")): imbalance "
        + "\(String(format: "%.2f", evaluation.imbalance)), nlist \(evaluation.nlist)"
        + (evaluation.sample.map { ", measured over shards \(OrdinalSet(ascending: $0).text) alone" } ?? "")
        + (evaluation.refinedRows.map { ", the best \($0) ordered again by codes that refine" } ?? "") + "</li>"
    }
    let first = evaluations[0]
    let legend = "<ul class=\"legend\">\(names.joined())<li>solid: came back; dashed: in a visited list</li></ul>"
    let of =
      "<p>\(first.queryCount.counted("query", "queries")) of <code>\(Markup.text(first.queries))</code> (sha256 "
      + "<code>\(first.queriesDigest.prefix(16))…</code>) against exact search over \(first.rowCount.counted("row")).</p>"
    return [
      "<section id=\"recall\"><h2>Recall</h2>\(of)\(legend)<div class=\"pair\" tabindex=\"0\" role=\"group\" aria-label=\"curves of recall\">",
      RecallChart(evaluations: evaluations, cost: .share, k: k).svg,
      RecallChart(evaluations: evaluations, cost: .nprobe, k: k).svg, "</div>", table(evaluations), "</section>",
      "<section id=\"lists\"><h2>List sizes</h2><div class=\"pair\" tabindex=\"0\" role=\"group\" aria-label=\"list sizes\">",
      ListSizeChart(evaluations: evaluations).svg, "</div></section>",
    ].joined(separator: "\n")
  }

  /// The page of a lake's shards.
  ///
  /// - Parameters:
  ///   - lake: What the lake is called.
  ///   - sources: The shards of each source.
  ///   - versions: The shards of each version.
  ///   - footer: Who makes the page, and when.
  /// - Returns: The page.
  package static func shards(
    of lake: String, sources: [ShardGrid], versions: [ShardGrid], footer: String
  ) -> ReportPage {
    ReportPage(
      title: "Shards of \(lake)",
      sections: ["<section id=\"sources\"><h2>Sources</h2>"] + sources.map(\.section)
        + ["</section><section id=\"versions\"><h2>Versions</h2>"] + versions.map(\.section) + ["</section>"],
      footer: footer)
  }

  private static func table(_ evaluations: [Evaluation]) -> String {
    let depths = evaluations[0].points.first?.recalls.map(\.k) ?? []
    let heads =
      ["version", "nprobe", "scanned"] + depths.flatMap { ["recall@\($0)", "±95%", "routing@\($0)"] }
      + ["queries/s"]
    var rows = ["<tr>\(heads.map { "<th>\($0)</th>" }.joined())</tr>"]
    for evaluation in evaluations {
      for point in evaluation.points {
        let share = 100 * point.vectorsScanned / Double(max(evaluation.rowCount, 1))
        let cells =
          ["\(evaluation.version)", "\(point.nprobe)", String(format: "%.3f %%", share)]
          + point.recalls.flatMap { point in
            [point.recall, 1.96 * point.standardError, point.routingRecall].map { String(format: "%.4f", $0) }
          }
          + [String(format: "%.0f", Double(evaluation.queryCount) / point.seconds)]
        rows.append("<tr>\(cells.map { "<td>\(Markup.text($0))</td>" }.joined())</tr>")
      }
    }
    let note = "<p>±95% is half of the 95 % interval that a recall has with so many queries.</p>"
    return "<table>\(rows.joined(separator: "\n"))</table>\(note)"
  }
}
