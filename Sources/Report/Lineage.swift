// What a version is made of, as boxes with arrows between.

/// The steps that led to a version, first to last.
package struct Lineage: Sendable {
  /// One box: a title and lines below it.
  package struct Step: Sendable {
    let title: String
    let lines: [String]

    package init(_ title: String, _ lines: [String]) { (self.title, self.lines) = (title, lines) }
  }

  private let steps: [Step]

  package init(_ steps: [Step]) { self.steps = steps }

  /// The steps as an element.
  package var section: String {
    let boxes = steps.map { step in
      "<div><b>\(Markup.text(step.title))</b>\(step.lines.map { Markup.text($0) }.joined(separator: "<br/>"))</div>"
    }
    return "<div class=\"lineage\">" + boxes.joined(separator: "<span>→</span>") + "</div>"
  }
}
