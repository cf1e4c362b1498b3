// The little that drawing needs: text that is safe in XML, numbers as SVG has
// them, and the scales of axes.

internal import Base
internal import Foundation

/// Pieces of XML.
package enum Markup {
  /// Text that stands for itself, in elements and in attributes.
  package static func text(_ value: String) -> String { value.escapedForXML }

  /// A coordinate, to a hundredth of a pixel.
  static func number(_ value: Double) -> String {
    let text = String(format: "%.2f", value)
    return text.hasSuffix(".00") ? String(text.dropLast(3)) : text
  }

  /// What a vertical axis counts, read from below, around a point.
  static func uprightLabel(_ value: String, x: Double, y: Double) -> String {
    let (x, y) = (number(x), number(y))
    return "<text class=\"axis middle\" x=\"\(x)\" y=\"\(y)\" transform=\"rotate(-90 \(x) \(y))\">\(text(value))</text>"
  }
}

/// A logarithmic axis.
struct LogScale {
  let values: ClosedRange<Double>
  let pixels: ClosedRange<Double>

  func position(_ value: Double) -> Double {
    let span = log(values.upperBound / values.lowerBound)
    let part = span > 0 ? log(max(value, values.lowerBound) / values.lowerBound) / span : 0.5
    return pixels.lowerBound + part * (pixels.upperBound - pixels.lowerBound)
  }

  /// Round numbers within the axis: 1, 2 and 5 times powers of ten, or powers
  /// of two.
  func ticks(powersOfTwo: Bool) -> [Double] {
    var ticks: [Double] = []
    if powersOfTwo {
      var tick = 1.0
      while tick <= values.upperBound * 1.0001 {
        if tick >= values.lowerBound * 0.9999 { ticks.append(tick) }
        tick *= 2
      }
      return ticks
    }
    for exponent in -9...3 {
      for digit in [1.0, 2, 5] {
        let tick = digit * pow(10, Double(exponent))
        if tick >= values.lowerBound * 0.9999, tick <= values.upperBound * 1.0001 { ticks.append(tick) }
      }
    }
    return ticks
  }
}
