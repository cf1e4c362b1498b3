// Who works on a lake: one file in `leases/` for each command that writes, locked
// by the kernel as long as its process lives.

internal import Base
internal import Foundation
internal import Glibc

/// A command at work, as its file tells.
package struct LeaseHolder: Equatable {
  private static let format: Int64 = 1

  let pid: Int
  /// The verb, with what it is told.
  let command: String
  /// When it began, in the catalog's form.
  let since: String
  let machine: Machine
  package let holding: Holding

  /// Which kernel, of the machines that may reach the lake's directory.
  package struct Machine: Equatable {
    package let host: String
    /// What the kernel drew when it started: equal in all its containers.
    package let boot: String

    /// The kernel that this process runs on.
    package static let this: Machine = {
      let boot = Disk.text(of: "/proc/sys/kernel/random/boot_id").map { String($0.prefix { $0 != "\n" }) }
      return Machine(host: HostName.current, boot: boot ?? "?")
    }()

    /// Whether a process of that machine may be alive without this kernel knowing.
    func isElsewhere(than other: Machine) -> Bool { boot != other.boot && host != other.host }
  }

  /// This process.
  package init(command: String, holding: Holding) {
    pid = Int(getpid())
    self.command = command
    since = Timestamp.now()
    machine = .this
    self.holding = holding
  }

  /// Reads what ``text`` says; nil for a file that was not written to its end, or by a
  /// tarn with other leases.
  package init?(parsing text: String) {
    guard let value = JSONValue(parsing: text), value["format"]?.integer == Self.format,
      let pid = value["pid"]?.integer, let command = value["command"]?.string, let since = value["since"]?.string,
      let host = value["host"]?.string, let boot = value["boot"]?.string
    else { return nil }
    self.pid = Int(pid)
    self.command = command.printable
    self.since = since.printable
    machine = Machine(host: host.printable, boot: boot)
    guard case .array(let records)? = value["leases"] else {
      holding = .wholeLake
      return
    }
    let leases = records.map { $0.string.flatMap(Lease.init(parsing:)) }
    holding = leases.contains(nil) ? .wholeLake : .leases(leases.compactMap(\.self))
  }

  /// What the file of a holder says.
  package var text: String {
    var fields: [String: JSONValue] = [
      "format": .integer(Self.format), "pid": .count(pid), "command": .string(command), "since": .string(since),
      "host": .string(machine.host), "boot": .string(machine.boot),
    ]
    if case .leases(let leases) = holding { fields["leases"] = .array(leases.map { .string($0.record) }) }
    return JSONValue.object(fields).text + "\n"
  }

  /// What it does, where and since when.
  var label: String { "\(command), \(process), since \(since)" }

  /// As people are told.
  var description: String {
    "\(process), \(command), since \(since)" + (holding.text.map { ", which \($0)" } ?? "")
  }

  private var process: String { "pid \(pid)" + (machine.isElsewhere(than: .this) ? " on \(machine.host)" : "") }
}

/// The file of a holder.
struct LeaseFile {
  /// Name of the file: the process, and what tells it from others of that number.
  let token: String
  /// Nil for a file that tells nothing, as of a process that died at once.
  let holder: LeaseHolder?
  /// Whether the process is there, as far as this kernel knows.
  let isLocked: Bool

  /// Whether it could not be looked at.
  var isUnreadable = false

  /// Whether the process may be at work.
  var isAlive: Bool { isLocked || holder?.machine.isElsewhere(than: .this) == true }

  /// What the process has; everything, where its file does not say.
  var holding: Holding { holder?.holding ?? .wholeLake }

  /// As people are told.
  var description: String { holder?.description ?? "holder unknown, \(token)" }

  /// Every file of a lake, dead holders' included; one that cannot be looked at is a living holder's, as far as
  /// anybody knows.
  static func all(in directory: String) -> [LeaseFile] {
    (try? listed(in: directory)) ?? [LeaseFile(token: directory, holder: nil, isLocked: true, isUnreadable: true)]
  }

  /// The same.
  ///
  /// - Throws: ``TarnError`` `.io` for a directory that cannot be read.
  static func listed(in directory: String) throws -> [LeaseFile] {
    try Disk.namesIfAny(in: directory).compactMap { name in
      let descriptor = open("\(directory)/\(name)", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)
      guard descriptor >= 0 else {
        // One that is gone meanwhile has ended, and a link is nobody's.
        guard ![ENOENT, ELOOP].contains(errno) else { return nil }
        return LeaseFile(token: name, holder: nil, isLocked: true, isUnreadable: true)
      }
      defer { close(descriptor) }
      let isLocked = flock(descriptor, LOCK_SH | LOCK_NB) != 0
      let text = Disk.text(of: "\(directory)/\(name)") ?? ""
      return LeaseFile(token: name, holder: LeaseHolder(parsing: text), isLocked: isLocked)
    }
  }

  /// Who is at work, as people are told; nil for nobody.
  static func description(in directory: String) -> String? {
    let alive = all(in: directory).filter(\.isAlive).map(\.description)
    return alive.isEmpty ? nil : alive.joined(separator: "; ")
  }
}
