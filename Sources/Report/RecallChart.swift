// Curves of recall, one colour a version: solid for what came back, dashed for
// what was in the visited lists.

internal import Base
internal import Foundation

/// Recall at one depth against what a search costs.
struct RecallChart {
  /// What the horizontal axis counts.
  enum Cost {
    case share, nprobe
  }

  let evaluations: [Evaluation]
  let cost: Cost
  let k: Int

  private static let (width, height) = (560.0, 320.0)
  private static let (left, right, top, bottom) = (52.0, 24.0, 16.0, 44.0)

  private func cost(of point: EvaluationPoint, _ evaluation: Evaluation) -> Double {
    switch cost {
    case .share: max(point.vectorsScanned / Double(max(evaluation.rowCount, 1)), 1e-9)
    case .nprobe: Double(point.nprobe)
    }
  }

  /// The chart as an SVG element.
  var svg: String {
    let costs = evaluations.flatMap { evaluation in evaluation.points.map { cost(of: $0, evaluation) } }
    let (least, most) = (costs.min() ?? 1, costs.max() ?? 1)
    let x = LogScale(values: least...most, pixels: Self.left...(Self.width - Self.right))
    func y(_ recall: Double) -> Double {
      Self.height - Self.bottom - recall * (Self.height - Self.top - Self.bottom)
    }
    let title = cost == .share ? "recall@\(k) against vectors scanned" : "recall@\(k) against nprobe"
    var parts = [
      "<svg class=\"chart\" viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" role=\"img\" "
        + "aria-label=\"\(title)\"><title>\(title)</title>"
    ]
    for step in 0...5 {
      let recall = Double(step) / 5
      parts.append(line("grid", Self.left, y(recall), Self.width - Self.right, y(recall)))
      parts.append(label("tick end", Self.left - 6, y(recall) + 4, String(format: "%.1f", recall)))
    }
    for tick in x.ticks(powersOfTwo: cost == .nprobe) {
      let at = x.position(tick)
      let text =
        cost == .nprobe
        ? "\(Int(tick))" : "\(tick * 100 >= 1 ? "\(Int(tick * 100))" : String(format: "%g", tick * 100)) %"
      parts.append(line("grid", at, Self.top, at, Self.height - Self.bottom))
      parts.append(label("tick middle", at, Self.height - Self.bottom + 16, text))
    }
    let axis = cost == .share ? "share of all vectors scanned" : "nprobe"
    parts.append(label("axis middle", (Self.left + Self.width - Self.right) / 2, Self.height - 6, axis))
    parts.append(Markup.uprightLabel("recall@\(k)", x: 14, y: (Self.top + Self.height - Self.bottom) / 2))
    for (index, evaluation) in evaluations.enumerated() {
      let points = evaluation.points.compactMap { point in
        point.recalls.first { $0.k == k }.map { (x.position(cost(of: point, evaluation)), $0, point) }
      }
      func curve(_ name: String, _ value: (RecallPoint) -> Double) -> String {
        let path = points.map { "\(Markup.number($0.0)),\(Markup.number(y(value($0.1))))" }.joined(separator: " ")
        return "<polyline class=\"\(name) c\(index % 8)\" points=\"\(path)\"/>"
      }
      parts.append(curve("routing") { $0.routingRecall })
      parts.append(curve("recall") { $0.recall })
      for (at, recall, point) in points {
        let error = 1.96 * recall.standardError
        parts.append(
          line("error c\(index % 8)", at, y(min(recall.recall + error, 1)), at, y(max(recall.recall - error, 0))))
        parts.append(
          "<circle class=\"dot c\(index % 8)\" cx=\"\(Markup.number(at))\" cy=\"\(Markup.number(y(recall.recall)))\" r=\"3\">"
            + "<title>\(Markup.text("\(evaluation.version)")), nprobe \(point.nprobe): recall@\(k) "
            + "\(String(format: "%.4f ± %.4f", recall.recall, error))</title></circle>")
      }
    }
    parts.append("</svg>")
    return parts.joined(separator: "\n")
  }

  private func line(_ name: String, _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double) -> String {
    "<line class=\"\(name)\" x1=\"\(Markup.number(x1))\" y1=\"\(Markup.number(y1))\" "
      + "x2=\"\(Markup.number(x2))\" y2=\"\(Markup.number(y2))\"/>"
  }

  private func label(_ name: String, _ x: Double, _ y: Double, _ text: String) -> String {
    "<text class=\"\(name)\" x=\"\(Markup.number(x))\" y=\"\(Markup.number(y))\">\(Markup.text(text))</text>"
  }
}

/// How many lists are how long, versions side by side.
struct ListSizeChart {
  let evaluations: [Evaluation]

  /// The chart as an SVG element.
  var svg: String {
    let bins = evaluations.map(\.listSizes.count).max() ?? 0
    let first = evaluations.compactMap { $0.listSizes.firstIndex { $0 > 0 } }.min() ?? 0
    let shares = evaluations.map { evaluation in
      evaluation.listSizes.map { Double($0) / Double(max(evaluation.nlist, 1)) }
    }
    let most = max(shares.flatMap(\.self).max() ?? 1, 1e-9)
    let (width, height, left, bottom, top) = (560.0, 220.0, 52.0, 44.0, 14.0)
    let slot = (width - left - 16) / Double(max(bins - first, 1))
    let bar = slot * 0.8 / Double(max(evaluations.count, 1))
    var parts = [
      "<svg class=\"chart\" viewBox=\"0 0 560 220\" role=\"img\" aria-label=\"lists by size\"><title>lists by size</title>"
    ]
    // Names of neighbours would lie on each other: every so many bins have one.
    let widest = (first..<max(bins, first)).map { Self.name($0).count }.max() ?? 1
    let stride = max(1, Int((Double(widest + 1) * 6.2 / slot).rounded(.up)))
    for bin in first..<max(bins, first) {
      let start = left + slot * Double(bin - first)
      for (index, share) in shares.enumerated() where bin < share.count && share[bin] > 0 {
        let size = share[bin] / most * (height - top - bottom)
        parts.append(
          "<rect class=\"bar c\(index % 8)\" x=\"\(Markup.number(start + bar * Double(index)))\" "
            + "y=\"\(Markup.number(height - bottom - size))\" width=\"\(Markup.number(bar))\" "
            + "height=\"\(Markup.number(size))\"><title>\(Markup.text("\(evaluations[index].version)")): "
            + "\(evaluations[index].listSizes[bin]) lists of \(Self.name(bin)) rows</title></rect>")
      }
      guard (bin - first).isMultiple(of: stride) else { continue }
      parts.append(
        "<text class=\"tick middle\" x=\"\(Markup.number(start + slot * 0.4))\" y=\"\(Markup.number(height - bottom + 16))\">"
          + "\(Self.name(bin))</text>")
    }
    parts.append("<text class=\"axis middle\" x=\"300\" y=\"\(Markup.number(height - 6))\">rows in a list</text>")
    parts.append(Markup.uprightLabel("share of the lists", x: 14, y: (top + height - bottom) / 2))
    parts.append(
      "<text class=\"tick end\" x=\"46\" y=\"\(Markup.number(top + 4))\">\(String(format: "%.0f %%", 100 * most))</text>"
    )
    parts.append("<text class=\"tick end\" x=\"46\" y=\"\(Markup.number(height - bottom))\">0 %</text>")
    parts.append(
      "<line class=\"grid\" x1=\"52\" y1=\"\(Markup.number(height - bottom))\" x2=\"544\" y2=\"\(Markup.number(height - bottom))\"/>"
    )
    return (parts + ["</svg>"]).joined(separator: "\n")
  }

  /// The sizes that a bin counts, `4–7` for the third.
  private static func name(_ bin: Int) -> String {
    guard bin > 1 else { return "\(bin)" }
    func short(_ value: Int) -> String { value >= 10_000 ? "\(value / 1000)k" : "\(value)" }
    return "\(short(1 << (bin - 1)))–\(short((1 << bin) - 1))"
  }
}
