// Which verb works with what: the one table that the command line asks, that
// docs/LEASES.md shows and that the tests hold the verbs against.

/// What one verb needs of a lake while it runs.
package struct VerbLeases: Sendable {
  package enum Need: Sendable {
    /// It reads, and locks nothing.
    case nothing
    /// It writes one setting, in one transaction.
    case transaction
    /// These uses of what it is told to work with.
    case leases([(kind: Lease.Kind, use: Lease.Use)])
    /// No other command that writes.
    case wholeLake
  }

  /// The verb; with the option that makes other needs of it.
  package let verb: String
  package let need: Need

  /// Verbs that give room back: these work on a full disk too.
  private static let givingBack: Set<String> = [
    "abandon", "abandon a training", "evict", "gc --apply", "remove", "revoke", "source drop-shards", "source remove",
    "verify",
  ]

  /// Whether it gives room back, and so works on a full disk.
  package var givesBack: Bool { Self.givingBack.contains(verb) }

  private init(_ verb: String, _ need: Need) {
    self.verb = verb
    self.need = need
  }

  private static func reads(_ verbs: String...) -> [VerbLeases] { verbs.map { VerbLeases($0, .nothing) } }
  private static func takesAll(_ verbs: String...) -> [VerbLeases] { verbs.map { VerbLeases($0, .wholeLake) } }
  private static func works(_ verb: String, _ uses: (kind: Lease.Kind, use: Lease.Use)...) -> [VerbLeases] {
    [VerbLeases(verb, .leases(uses))]
  }

  /// Every verb.
  package static let all: [VerbLeases] =
    reads(
      "source list", "source show", "source mirror list", "source refresh --dry-run", "source export", "sync --dry-run",
      "train --dry-run", "build --dry-run", "plan train --dry-run", "plan build --dry-run",
      "status", "sql", "schema",
      "versions", "show", "search", "locate", "gc", "backup", "export", "diff", "doctor", "plan", "worker", "convert",
      "serve")
    + [VerbLeases("limit", .transaction)]
    + works("pin") + works("unpin") + works("revoke")
    + works("source add", (.source, .alter))
    + works("source probe", (.source, .look))
    + works("source mirror add", (.source, .look), (.mirrors, .alter))
    + works("source mirror order", (.source, .look), (.mirrors, .alter))
    + works("source mirror remove", (.source, .alter))
    + works("source set", (.source, .alter))
    + works("source extend", (.source, .alter))
    + works("source refresh", (.source, .alter))
    + works("source rename", (.source, .alter))
    + works("source drop-shards", (.source, .alter))
    + works("source remove", (.source, .alter))
    + works("exclude", (.source, .look))
    + works("sync", (.source, .add))
    + works("sync of what is there", (.source, .read))
    + works("sync --refresh", (.source, .change))
    + works("import", (.source, .change))
    + works("pack", (.source, .read))
    + works("train", (.training, .alter), (.source, .read))
    + works("train --fetch", (.training, .alter), (.source, .change))
    + works("build", (.version, .alter), (.training, .read), (.source, .change))
    + works("build of what is there", (.version, .alter), (.training, .read), (.source, .read))
    + works("plan build", (.version, .alter), (.training, .read), (.source, .look))
    + works("plan train", (.training, .alter), (.source, .read))
    + works("plan train --fetch", (.training, .alter), (.source, .change))
    + works("ingest", (.version, .alter), (.training, .read), (.source, .read))
    + works("evaluate", (.source, .read), (.truth, .alter))
    + works("evaluate --fetch", (.source, .change), (.truth, .alter))
    + works("reproduce", (.source, .read), (.rebuild, .alter))
    + works("reproduce --fetch", (.source, .change), (.rebuild, .alter))
    + works("push", (.version, .read))
    + works("pull", (.version, .alter), (.training, .alter), (.source, .add))
    + works("adopt trained", (.training, .alter))
    + works("adopt version", (.version, .alter), (.training, .read), (.source, .look))
    + works("abandon", (.version, .alter))
    + works("abandon a training", (.training, .alter))
    + works("remove", (.training, .alter))
    + works("rename", (.training, .alter))
    + takesAll(
      "init", "evict", "gc --apply", "verify", "schema --migrate", "reproduce --from", "rebuild-catalog",
      "doctor --moved", "doctor --copied", "doctor --recount")

  /// The needs of a verb, as the table has it.
  package static func of(_ verb: String) -> VerbLeases {
    guard let found = all.first(where: { $0.verb == verb }) else {
      preconditionFailure("VerbLeases does not have the verb '\(verb)'")
    }
    return found
  }

  /// The leases of the verb on things with names.
  package func leases(_ names: [Lease.Kind: [String]]) -> [Lease] {
    guard case .leases(let uses) = need else { return [] }
    return uses.flatMap { use in (names[use.kind] ?? []).map { Lease(use.kind, $0, use.use) } }
  }

  /// Whether two verbs may run at a time.
  ///
  /// - Parameters:
  ///   - other: The other verb.
  ///   - isSame: Whether both are told the same names.
  /// - Returns: Whether neither waits for the other.
  package func goesWith(_ other: VerbLeases, onTheSame isSame: Bool) -> Bool {
    switch (need, other.need) {
    case (.nothing, _), (_, .nothing), (.transaction, _), (_, .transaction): true
    case (.wholeLake, _), (_, .wholeLake): false
    case (.leases(let mine), .leases(let others)):
      !isSame
        || mine.allSatisfy { use in others.allSatisfy { $0.kind != use.kind || $0.use.goesWith(use.use) } }
    }
  }
}
