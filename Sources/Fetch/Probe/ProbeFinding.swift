// What a probe is asked, and what it finds.

package import Base
package import Features

/// A place to ask about one shard.
package struct ProbeTarget: Sendable {
  /// What its file must be, to be asked for its beginning, too.
  package struct Kind: Sendable {
    let format: FeatureFormat
    /// Nil, as the next, for any.
    let dimension: Int?
    let elementType: ElementType?
    /// The array that is meant; nil for the only one.
    let array: String?

    package init(format: FeatureFormat, dimension: Int?, elementType: ElementType?, array: String? = nil) {
      self.array = array
      self.format = format
      self.dimension = dimension
      self.elementType = elementType
    }
  }

  package let shardID: Int64
  package let mirror: FetchMirror
  /// The size it must have, if known.
  package let expectedByteCount: Int?
  /// Nil to ask for no rows.
  package let kind: Kind?

  package init(shardID: Int64, mirror: FetchMirror, expectedByteCount: Int? = nil, kind: Kind? = nil) {
    self.shardID = shardID
    self.mirror = mirror
    self.expectedByteCount = expectedByteCount
    self.kind = kind
  }
}

/// What a mirror says of a shard.
package struct ProbeFinding: Sendable, Equatable {
  package enum Answer: Sendable, Equatable {
    /// It has the shard; bytes are nil when it does not say how many.
    case present(byteCount: Int?, EntityValidator)
    case absent
    /// It answers, but not with this shard; the text says what is wrong.
    case faulty(String)
    /// Nobody can tell for now.
    case unreachable(String)
  }

  package let shardID: Int64
  package let mirrorID: Int64
  package let answer: Answer
  /// Rows, as the beginning of its file says; nil if it was not asked for or does
  /// not tell.
  package let rowCount: Int?
  /// The beginning of its file, where that was asked for over the network.
  package let head: FeatureHead?
  /// How long its host asks to be left alone, where nobody can tell for now (R13).
  package var retryAfter: Duration?
  /// How credentials are given, where its host refuses access.
  package var wayIn: String?
}

extension ProbeFinding {
  /// Nobody could tell for as long as was waited.
  package init(givingUp target: ProbeTarget, _ cause: String) {
    self.init(
      shardID: target.shardID, mirrorID: target.mirror.id, answer: .unreachable(cause), rowCount: nil, head: nil)
  }
}
