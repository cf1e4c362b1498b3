// What a command that writes works with, and what may be worked with at a time:
// pure values. Who holds what is WriterSession's to know.

internal import Base

/// One thing that a command works with for as long as it runs.
package struct Lease: Hashable, Sendable {
  /// Things that are leased by name.
  package enum Kind: String, Sendable, CaseIterable {
    /// A source: its definition, and the bytes of its shards.
    case source
    /// The list of a source's mirrors.
    case mirrors
    case training
    /// All versions of one name, and the name's next number.
    case version
    /// The exact neighbours of queries among a source's rows, on their way.
    case truth
    /// The rebuild of a version, on its way.
    case rebuild
  }

  /// What is done with it; the order is from the least to the most.
  package enum Use: String, Sendable, CaseIterable {
    /// It must stay what it is; what is known about its bytes may change.
    case look
    /// Its bytes are read.
    case read
    /// Bytes are added that were not there; none that are there go.
    case add
    /// Bytes come, are replaced and go.
    case change
    /// It is made, made anew, called otherwise or removed.
    case alter

    /// Whether two commands may do this with one thing at a time.
    package func goesWith(_ other: Use) -> Bool {
      switch (self, other) {
      case (.alter, _), (_, .alter): false
      case (.look, _), (_, .look): true
      case (.read, .read), (.read, .add), (.add, .read): true
      case (.add, .add), (.change, _), (_, .change): false
      }
    }

    /// As in `sync reads source images`.
    fileprivate var words: String {
      switch self {
      case .look: "looks at"
      case .read: "reads"
      case .add: "adds to"
      case .change: "changes"
      case .alter: "alters"
      }
    }
  }

  package let kind: Kind
  package let name: String
  package let use: Use

  package init(_ kind: Kind, _ name: String, _ use: Use) {
    self.kind = kind
    self.name = name
    self.use = use
  }

  /// Whether both may be held at a time.
  package func goesWith(_ other: Lease) -> Bool {
    kind != other.kind || name != other.name || use.goesWith(other.use)
  }

  /// Whether bytes of a source may come into the lake by it.
  var bringsBytes: Bool { kind == .source && [.add, .change].contains(use) }

  /// The thing, as people are told.
  var subject: String {
    let what =
      switch kind {
      case .mirrors: "mirrors of"
      case .truth: "exact neighbours in"
      case .rebuild: "the rebuild of"
      case .source, .training, .version: kind.rawValue
      }
    return "\(what) \(name.printable)"
  }

  /// What is done with it, as people are told.
  var text: String { "\(use.words) \(subject)" }

  /// What the file of a holder says of it; ``init(parsing:)`` reads it.
  package var record: String { "\(use.rawValue) \(kind.rawValue) \(name)" }

  /// Reads what ``record`` says; nil for what this tarn does not know.
  init?(parsing text: String) {
    let parts = text.split(separator: " ", maxSplits: 2).map(String.init)
    guard parts.count == 3, let use = Use(rawValue: parts[0]), let kind = Kind(rawValue: parts[1]) else { return nil }
    self.init(kind, parts[2], use)
  }
}

/// What a command has for as long as it runs.
package enum Holding: Equatable {
  case wholeLake
  case leases([Lease])

  /// What keeps another command from having these; nil when nothing does.
  func objection(to wanted: [Lease]) -> String? {
    switch self {
    case .wholeLake: "the whole lake"
    case .leases(let held):
      wanted.lazy.filter { want in held.contains { !$0.goesWith(want) } }.map(\.subject).first
    }
  }

  /// As people are told; nil for a command that has nothing for longer than a transaction.
  var text: String? {
    switch self {
    case .wholeLake: "has the whole lake"
    case .leases(let held): held.isEmpty ? nil : held.map(\.text).joined(separator: ", ")
    }
  }
}
