// Who is at work on a lake and whom each waits for, for whoever watches it: the files of
// leases, and beside them what a command wrote of the hosts that it waits for.

internal import Base
package import Foundation
internal import GRDB
internal import Synchronization

/// A pause in asking one host.
package struct HostWait: Sendable, Equatable {
  /// Scheme, host and port.
  package let host: String
  /// When it is asked again.
  package let until: Date
  /// When patience with it ends, if nothing comes before.
  package let patienceUntil: Date
  /// Shards that wait, for this host or another.
  package let shardCount: Int

  package init(host: String, until: Date, patienceUntil: Date, shardCount: Int) {
    self.host = host
    self.until = until
    self.patienceUntil = patienceUntil
    self.shardCount = shardCount
  }

  /// What the file of a command says of it.
  fileprivate var json: JSONValue {
    .object([
      "host": .string(host), "until": .string(Timestamp.text(until)),
      "patience_until": .string(Timestamp.text(patienceUntil)), "shards": .count(shardCount),
    ])
  }

  /// Reads ``json``; nil for anything else, which another tarn may write.
  fileprivate init?(_ value: JSONValue) {
    guard let host = value["host"]?.string, let until = value["until"]?.string.flatMap(Timestamp.date),
      let patience = value["patience_until"]?.string.flatMap(Timestamp.date), let shards = value["shards"]?.integer
    else { return nil }
    self.init(host: host.printable, until: until, patienceUntil: patience, shardCount: Int(clamping: shards))
  }
}

/// A command that writes to a lake, or may.
package struct CommandAtWork: Sendable, Equatable {
  /// Its verb and what it was told, its process, and since when.
  package let text: String
  /// Hosts that it waits for.
  package let waits: [HostWait]

  package init(text: String, waits: [HostWait] = []) {
    self.text = text
    self.waits = waits
  }
}

extension LakeCatalog {
  /// Keeps for others that this command waits for a host; pauses that are over are left out.
  ///
  /// What cannot be written is not told: nothing rests on it.
  package func tell(_ wait: HostWait) {
    guard let session, !workingPrefix.isEmpty else { return }
    let now = Date()
    session.waits.withLock { waits in
      waits[wait.host] = wait
      waits = waits.filter { $0.value.until > now }
      let values = waits.values.sorted { $0.host < $1.host }.map(\.json)
      try? Disk.writeAtomically(Array(JSONValue.array(values).text.utf8), to: waitsPath(workingPrefix))
    }
  }

  /// Says that this command waits for nobody any more.
  package func tellNoWaits() {
    session?.waits.withLock { waits in
      guard !waits.isEmpty else { return }
      waits = [:]
      try? Disk.remove(waitsPath(workingPrefix))
    }
  }

  private func waitsPath(_ prefix: String) -> String { "\(layout.scratch)/\(prefix)waits.json" }

  /// Sources of which a living command fetches shards, or may; a row that says `fetching` of another one is what a
  /// killed command left.
  ///
  /// - Returns: Their names, with those that read the same files.
  /// - Throws: ``TarnError`` where the catalog cannot be read.
  package func sourcesBeingFetched() throws -> Set<String> {
    let all = try sources()
    var leased: Set<String> = []
    for file in LeaseFile.all(in: layout.leases) where file.isAlive {
      guard case .leases(let leases) = file.holding else { return Set(all.map(\.name)) }
      leased.formUnion(leases.lazy.filter(\.bringsBytes).map(\.name))
    }
    let files = Set(all.lazy.filter { leased.contains($0.name) }.map(\.filesID))
    return Set(all.lazy.filter { files.contains($0.filesID) }.map(\.name))
  }

  /// Unfinished trainings that no living command makes, nor may: who made them was killed, or ended before its end.
  ///
  /// - Returns: Their names.
  /// - Throws: ``TarnError`` where the catalog cannot be read.
  package func stoppedTrainings() throws -> Set<String> {
    func unfinished() throws -> Set<String> {
      Set(try read { try String.fetchAll($0, sql: "SELECT name FROM trained_index WHERE state = 'training'") })
    }
    let before = try unfinished()
    guard !before.isEmpty else { return [] }
    var leased: Set<String> = []
    for file in LeaseFile.all(in: layout.leases) where file.isAlive {
      guard case .leases(let leases) = file.holding else { return [] }
      leased.formUnion(leases.lazy.filter { $0.kind == .training && $0.use == .alter }.map(\.name))
    }
    // One that was finished meanwhile has given its lease back.
    return try before.subtracting(leased).intersection(unfinished())
  }

  /// Commands that are at work on this lake, or may be, in no order that means anything.
  ///
  /// - Parameter now: Pauses that end before are over.
  /// - Returns: The commands, each with the hosts that it waits for.
  package func commandsAtWork(at now: Date) -> [CommandAtWork] {
    LeaseFile.all(in: layout.leases).filter(\.isAlive).map { file in
      let text = Disk.text(of: waitsPath("\(file.token)."))
      let waits: [HostWait]
      if case .array(let values)? = text.flatMap(JSONValue.init(parsing:)) {
        waits = values.compactMap(HostWait.init).filter { $0.until > now }
      } else {
        waits = []
      }
      return CommandAtWork(text: file.holder?.label ?? file.description, waits: waits)
    }
  }
}
