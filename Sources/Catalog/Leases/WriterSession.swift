// What a writer holds of a lake from its opening to its end (invariant 7, D7): the
// lake's lock, the transaction lock, and its leases.
//
// Leases are taken all at once, under the transaction lock, or not at all: nobody
// waits for a lease with another in hand, so no two commands wait for each other.

internal import Base
internal import Foundation
internal import Glibc
internal import Synchronization

/// A writer's hold on a lake; it ends with its process at the latest (D14).
final class WriterSession: Sendable {
  /// A lease file of this process, and its open descriptor, whose lock it is.
  private struct Own {
    let token: String
    let descriptor: Int32
  }

  private let layout: LakeLayout
  private let command: String
  /// Nil when the session has ended.
  private let lake: Mutex<WriterLock?>
  private let transactions: TransactionLock
  private let own = Mutex<Own?>(nil)
  private let held = Mutex<Holding>(.leases([]))

  /// Hosts that this process waits for, for others to see.
  let waits = Mutex<[String: HostWait]>([:])

  /// What this process has.
  var holding: Holding { held.withLock { $0 } }

  /// Begins a session; it has no leases yet.
  ///
  /// - Parameters:
  ///   - layout: The lake, of which the root counts.
  ///   - command: What this process does, told to others.
  ///   - isWhole: Whether it takes the whole lake.
  ///   - deadline: How long to wait for others.
  /// - Throws: ``TarnError`` `.locked`, `.io`.
  init(_ layout: LakeLayout, command: String, isWhole: Bool, until deadline: ContinuousClock.Instant) throws {
    self.layout = layout
    self.command = command
    lake = Mutex(
      try WriterLock(
        path: layout.lock, command: isWhole ? command : nil, until: deadline,
        besides: { LeaseFile.description(in: layout.leases) }))
    transactions = try TransactionLock(path: layout.transactionLock)
    if isWhole { held.withLock { $0 = .wholeLake } }
  }

  /// Does something while no other process is in a transaction.
  func transaction<Value>(_ body: () throws -> Value) throws -> Value { try transactions.hold(body) }

  /// Others that may be at work.
  private func others() -> [LeaseFile] {
    let mine = own.withLock { $0?.token }
    return LeaseFile.all(in: layout.leases).filter { $0.token != mine && $0.isAlive }
  }

  /// Names of a kind that others hold for a use that does not go with another one.
  ///
  /// - Parameters:
  ///   - kind: What is held.
  ///   - use: What somebody else would do with it.
  /// - Returns: The names.
  func held(_ kind: Lease.Kind, against use: Lease.Use) -> Set<String> {
    others().reduce(into: []) { names, other in
      guard case .leases(let leases) = other.holding else { return }
      names.formUnion(leases.lazy.filter { $0.kind == kind && !$0.use.goesWith(use) }.map(\.name))
    }
  }

  /// Whether this process may bring bytes of a source into the lake.
  func mayFetch(_ source: String) -> Bool { has(source) { $0.bringsBytes } }

  /// Whether this process may let go of bytes of a source.
  func mayEvict(_ source: String) -> Bool { has(source) { $0.kind == .source && $0.use == .change } }

  private func has(_ source: String, _ isEnough: (Lease) -> Bool) -> Bool {
    guard case .leases(let leases) = holding else { return true }
    return leases.contains { $0.name == source && isEnough($0) }
  }

  /// Other commands that fetch.
  var otherFetcherCount: Int {
    others().count { other in
      guard case .leases(let leases) = other.holding else { return false }
      return leases.contains(where: \.bringsBytes)
    }
  }

  /// Who else trains under a name; nil for nobody.
  func other(training name: String) -> String? {
    // Who reads it, as a build does, is not meant.
    let wanted = [Lease(.training, name, .read)]
    return others().first { $0.holding.objection(to: wanted) != nil }?.description
  }

  /// Takes leases, all or none; called in a transaction.
  ///
  /// - Parameter wanted: The leases; of a session with the whole lake, none.
  /// - Returns: Why they cannot be had now; nil when they are held.
  /// - Throws: ``TarnError`` of the disk.
  func take(_ wanted: [Lease]) throws -> TarnError? {
    let files = try LeaseFile.listed(in: layout.leases)
    for file in files where !file.isAlive { try recover(file) }
    for file in files where file.isAlive {
      if file.isUnreadable {
        // Who has the whole lake has it by a lock that nobody else can have.
        if holding == .wholeLake { continue }
        return TarnError(
          .locked, "\(layout.leases)/\(file.token) cannot be opened, and may be a living command's",
          hint: "if none runs, remove it")
      }
      if let holder = file.holder, holder.machine.isElsewhere(than: .this) {
        return TarnError(
          .locked, "another tarn has this lake open on another host (\(holder.description))",
          hint: "one host works on a lake at a time; if none runs there any more, remove "
            + "\(layout.leases)/\(file.token)")
      }
      let subject = file.holding.objection(to: wanted)
      if let subject {
        return TarnError(
          .locked, "another tarn works with \(subject) (\(file.description))", hint: "wait for it, or pass --wait 10m")
      }
    }
    if case .leases = holding { held.withLock { $0 = .leases(wanted) } }
    do {
      try write(LeaseHolder(command: command, holding: holding))
    } catch let error as TarnError {
      // Who has the whole lake is kept apart from others by its lock alone.
      guard holding != .wholeLake else { return nil }
      // On a disk without room for a file, a command that is alone goes on.
      guard error.code == .diskFull, lake.withLock({ $0?.becomeExclusive() == true }) else { throw error }
      held.withLock { $0 = .wholeLake }
    }
    return nil
  }

  private func write(_ holder: LeaseHolder) throws {
    try Disk.makeDirectory(layout.leases)
    let token = "\(holder.pid)-\(String(UInt32.random(in: .min ... .max), radix: 16))"
    let path = "\(layout.leases)/\(token)"
    try FaultPlan.step("create", path)
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard descriptor >= 0 else { throw Disk.systemError("create", path) }
    // Other users of the lake have to see that it is locked, whatever this one's umask is.
    fchmod(descriptor, 0o644)
    // Somebody who looks at it without the transaction lock lets go at once.
    while flock(descriptor, LOCK_EX) != 0, errno == EINTR {}
    do {
      let text = Array(holder.text.utf8)
      try Disk.write(text.span.bytes, to: descriptor, named: path)
    } catch {
      unlink(path)
      close(descriptor)
      throw error
    }
    own.withLock { $0 = Own(token: token, descriptor: descriptor) }
  }

  /// The beginning of the names of this process's own working files; empty where
  /// nothing else can be at work.
  var workingPrefix: String { own.withLock { $0.map { "\($0.token)." } ?? "" } }

  /// Settles what a process left that died: its working files, which no other has
  /// a use for, and then its leases.
  private func recover(_ file: LeaseFile) throws {
    var isClean = true
    for directory in [layout.artifactScratch, layout.scratch] {
      for name in (try? Disk.namesIfAny(in: directory)) ?? [] where name.hasPrefix("\(file.token).") {
        let path = "\(directory)/\(name)"
        if Disk.isDirectory(path) {
          try? FileManager.default.removeItem(atPath: path)
        } else if try Disk.removeIfPermitted(path) != nil {
          isClean = false
        }
      }
    }
    // What this user may not remove keeps nobody from working; who may finds it by this file.
    if isClean { try Disk.remove("\(layout.leases)/\(file.token)") }
  }

  /// Ends the session.
  ///
  /// Again does nothing, and waits for who does it.
  ///
  /// - Parameter closing: Closes the connection, which may checkpoint.
  func end(closing: () -> Void) {
    lake.withLock { lake in
      guard lake != nil else { return }
      // What cannot be locked or removed now is settled by who comes next.
      try? transaction {
        closing()
        guard let token = own.withLock({ $0?.token }) else { return }
        unlink("\(layout.leases)/\(token)")
      }
      own.withLock { own in
        if let own { close(own.descriptor) }
        own = nil
      }
      lake = nil
    }
  }
}
