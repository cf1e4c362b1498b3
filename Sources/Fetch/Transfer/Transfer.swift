// One request under way: where it stands, which mirror it asks, and the record
// of the attempt that runs. The loop drives it; it owns no thread.

internal import Base
internal import Dispatch
internal import Features
internal import Foundation

/// A request between its pull and its last event.
///
/// Lives on the loop's thread, all but what its disk queue is handed.
final class Transfer {
  /// Where a request stands; edges are methods of ``TransferLoop``.
  ///
  ///     opening -> waiting -> exchanging <-> waiting
  ///                   |  \-> running -> copying -> finishing -> ended
  ///                   \----> finishing
  ///     any -> closing -> ended
  enum Phase {
    /// The disk queue opens the part file and hashes what it holds.
    case opening
    /// For its host, or for the end of a backoff.
    case waiting(until: ContinuousClock.Instant)
    /// A handle is in the multi handle.
    case exchanging(HTTPExchange)
    /// A thread of its own runs a command.
    case running
    /// The disk queue reads a local file, or what a command wrote.
    case copying
    /// The disk queue verifies, syncs and renames.
    case finishing
    /// The disk queue puts the part file aside; then the result is reported.
    case closing(Result<FetchResult, TarnError>)
    case ended
  }

  /// The attempt that runs.
  struct Attempt {
    var number: Int
    var offset: Int
    var startedAt: Date
    var receivedByteCount = 0
    var httpStatus: Int?
    /// Whether a page came instead of the file (R22).
    var metPage = false
    /// The command that was run.
    var command: CommandRecord?
  }

  let tag: UInt
  let request: FetchRequest
  /// In the order they are asked, with their parsed addresses: those that can be.
  var mirrors: [(mirror: FetchMirror, address: WebAddress, source: ContentDigest)]
  /// Mirrors whose addresses cannot be asked, with the reason.
  let unusable: [(mirror: FetchMirror, error: TarnError)]
  var walk: MirrorWalk
  var phase = Phase.opening
  var part: PartFile?
  var attempt: Attempt?
  /// Whether the next attempt sends a range without `If-Range` (R3).
  var wantsBareRange = false
  /// Whether the mirror refused a range, so that it is asked for the whole (R20).
  var wantsWhole = false
  /// Whether the last attempt brought a page instead of the file (R22).
  var metPage = false
  var reportedByteCount = -1
  /// How fast the copy goes that is under way; nil without one.
  var pace: CopyPace?
  /// Its pace among the others from its host.
  var reroll: Reroll
  /// The origin whose slot this transfer holds.
  var heldOrigin: String?
  /// Steps on the disk, in order and one at a time.
  let queue: DispatchQueue

  init(tag: UInt, request: FetchRequest, configuration: FetchConfiguration) throws(TarnError) {
    guard !request.mirrors.isEmpty else {
      throw TarnError(.usage, "a shard without a mirror", hint: "add one with `tarn source mirror add`")
    }
    self.tag = tag
    self.request = request
    var usable: [(mirror: FetchMirror, address: WebAddress, source: ContentDigest)] = []
    var unusable: [(mirror: FetchMirror, error: TarnError)] = []
    for mirror in request.mirrors {
      do throws(TarnError) {
        usable.append((mirror, try configuration.address(mirror), ContentDigest.of(mirror.url)))
      } catch {
        unusable.append((mirror, error))
      }
    }
    (mirrors, self.unusable) = (usable, unusable)
    if usable.isEmpty, let (mirror, error) = unusable.first { throw error.about(mirror.redacted) }
    walk = MirrorWalk(mirrorCount: usable.count, configuration: configuration)
    reroll = Reroll(configuration.reroll, at: .now)
    // Without a target of its own a serial queue gets a thread when it needs
    // one: a sync that blocks holds up no other transfer.
    queue = DispatchQueue(label: "tarn-fetch-disk-\(tag)")
  }

  var mirror: FetchMirror { mirrors[walk.mirrorIndex].mirror }
  var address: WebAddress { mirrors[walk.mirrorIndex].address }
  var source: ContentDigest { mirrors[walk.mirrorIndex].source }

  /// Puts the mirror that the partial came from first, so that it is used.
  func preferMirrorOfPartial() {
    guard let held = part?.source, let index = mirrors.firstIndex(where: { $0.source == held }) else { return }
    mirrors.insert(mirrors.remove(at: index), at: 0)
  }

  /// What to ask the current mirror for, given what is held.
  func question(_ configuration: FetchConfiguration) -> RangeQuestion {
    var question = RangeQuestion()
    question.expectedByteCount = request.expectation.byteCount
    question.retryAfterCap = configuration.retryAfterCap
    if let part, part.source == source, let head = part.head, !wantsWhole {
      let rangeGuard: RangeQuestion.Guard? =
        if request.expectation.digest != nil {
          // Whatever the validators say: those of a network of servers differ, and
          // the digest tells a mixed file.
          .digest
        } else if part.validator.ifRange != nil {
          wantsBareRange ? .validatorInAnswer : .ifRange
        } else {
          nil
        }
      if let rangeGuard {
        question.offset = part.byteCount
        question.rangeGuard = rangeGuard
        question.partialTotal = head.fileByteCount
        question.partialValidator = part.validator
      }
    }
    question.isConditional = question.offset == 0 && request.condition?.conditionLine != nil
    return question
  }

  /// Whether a later attempt at the same mirror can go on from what is held.
  var canContinue: Bool {
    // What a command wrote is made anew: no record would say whose it is.
    guard let part, part.head != nil, !wantsWhole, address.scheme != .command else { return false }
    return request.expectation.digest != nil || part.validator.ifRange != nil
  }

  /// Whether all bytes are held already, so that nobody need be asked.
  var isWholeFromCurrentMirror: Bool {
    guard let part, address.scheme != .command else { return false }
    return part.isWhole && part.source == source
  }
}
