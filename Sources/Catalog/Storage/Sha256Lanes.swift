// Where the threads of a process meet to hash: two strings at once cost a core
// hardly more than one (CSha256), and those who wait for the core come in pairs.

internal import CSha256
internal import Foundation
@preconcurrency internal import Dispatch

/// The bytes that one running SHA-256 takes next.
///
/// The memory that the job points to belongs to whoever calls
/// ``Sha256Lanes/run(_:)``, until that returns.
struct Sha256Job: @unchecked Sendable {
  let job: csha256_job
}

/// Carries out SHA-256 jobs of several threads, two at a time where two wait.
///
/// Whoever finds a free lead hashes at once; the others wait, and the one who is
/// done hands its lead to the first of them, with the second as its partner. So
/// a lone thread waits for nobody, and a crowd makes pairs.
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

  private let path = csha256_best_path()
  private let lock = NSLock()
  private var waiting: [Ticket] = []
  private var leadCount = 0
  /// Half of the processors: the others bring the bytes.
  private let mostLeads = max(1, ProcessInfo.processInfo.activeProcessorCount / 2)

  /// Adds the job's bytes to its SHA-256; returns when that is done.
  func run(_ job: Sha256Job) {
    let ticket = Ticket(job)
    let isLead = lock.withLock {
      guard leadCount == mostLeads else {
        leadCount += 1
        return true
      }
      waiting.append(ticket)
      return false
    }
    if !isLead {
      ticket.signal.wait()
      if ticket.isDone { return }
    }
    let partner = ticket.partner
    let jobs = [ticket.job.job] + (partner.map { [$0.job.job] } ?? [])
    jobs.withUnsafeBufferPointer { csha256_run(path, $0.baseAddress, $0.count) }
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
