// Where the threads of a process meet to hash: two strings at once cost a core
// hardly more than one (CSha256), and those who wait for the core come in pairs.

internal import CSha256
@preconcurrency internal import Dispatch
internal import Foundation

/// The bytes that one running SHA-256 takes next.
///
/// The memory that the job points to belongs to whoever calls
/// ``Sha256Lanes/run(_:of:)``, until that returns.
struct Sha256Job: @unchecked Sendable {
  let job: csha256_job
}

/// Carries out SHA-256 jobs of several threads, two at a time where two wait.
///
/// Whoever finds a free lead takes it; the others wait, and the one who is done
/// hands its lead to the first of them, with the second as its partner. A lead
/// without a partner waits a moment for one if other strings were hashed just
/// now: two apart cost the cores nearly twice what a pair does. So a lone thread
/// waits for nobody, and a crowd makes pairs.
///
/// `@unchecked Sendable`: every mutable property is used under `lock`.
final class Sha256Lanes: @unchecked Sendable {
  static let shared = Sha256Lanes()

  /// One caller; its fields are written before its signal and read after.
  private final class Ticket: @unchecked Sendable {
    let job: Sha256Job
    let signal = DispatchSemaphore(value: 0)
    var partner: Ticket?
    var isDone = false

    init(_ job: Sha256Job) { self.job = job }
  }

  private let lock = NSLock()
  private var waiting: [Ticket] = []
  private var leadCount = 0
  /// The lead that waits for a partner.
  private var seeker: Ticket?
  /// The string of the last job, and when the one before was another.
  private var lastOwner: ObjectIdentifier?
  private var changedAt = ContinuousClock.now - .seconds(1)
  /// Half of the processors: the others bring the bytes.
  private let mostLeads = max(1, ProcessInfo.processInfo.activeProcessorCount / 2)

  /// How long ago another string was hashed for company to be likely, and how
  /// long a lead waits for it: less than a block takes to be hashed and written.
  private static let companyWindow = Duration.milliseconds(20)
  private static let patience = DispatchTimeInterval.microseconds(1_500)

  private enum Role { case lead, seeker, follower }

  /// Adds the job's bytes to its SHA-256; returns when that is done.
  ///
  /// - Parameters:
  ///   - job: The bytes and where they go.
  ///   - owner: Tells the string from others.
  func run(_ job: Sha256Job, of owner: ObjectIdentifier) {
    let ticket = Ticket(job)
    var role = lock.withLock { () -> Role in
      note(owner)
      if let found = seeker {
        seeker = nil
        found.partner = ticket
        found.signal.signal()
        return .follower
      }
      guard leadCount < mostLeads else {
        waiting.append(ticket)
        return .follower
      }
      leadCount += 1
      return seek(ticket)
    }
    if role == .follower {
      ticket.signal.wait()
      if ticket.isDone { return }
      role = lock.withLock { ticket.partner == nil ? seek(ticket) : .lead }
    }
    if role == .seeker {
      _ = ticket.signal.wait(timeout: .now() + Self.patience)
      // A partner may have come between the end of the wait and here.
      lock.withLock { if seeker === ticket { seeker = nil } }
    }
    lead(ticket)
  }

  /// Remembers whose job came when; under the lock.
  private func note(_ owner: ObjectIdentifier) {
    if owner != lastOwner { changedAt = .now }
    lastOwner = owner
  }

  /// What a lead without a partner does; under the lock.
  private func seek(_ ticket: Ticket) -> Role {
    guard seeker == nil, ContinuousClock.now - changedAt < Self.companyWindow else { return .lead }
    seeker = ticket
    return .seeker
  }

  /// Hashes, alone or with a partner, and hands the lead on.
  private func lead(_ ticket: Ticket) {
    let partner = ticket.partner
    let jobs = [ticket.job.job] + (partner.map { [$0.job.job] } ?? [])
    jobs.withUnsafeBufferPointer { csha256_run(Sha256.path, $0.baseAddress, $0.count) }
    if let partner {
      partner.isDone = true
      partner.signal.signal()
    }
    let next: Ticket? = lock.withLock {
      guard !waiting.isEmpty else {
        leadCount -= 1
        return nil
      }
      let next = waiting.removeFirst()
      if !waiting.isEmpty { next.partner = waiting.removeFirst() }
      return next
    }
    next?.signal.signal()
  }
}
