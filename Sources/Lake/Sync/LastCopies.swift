// A look at files outside the lake before the lake's own copy of them goes: they may have been
// removed, moved or cut since anybody asked.

package import Base
internal import Catalog
internal import Foundation

/// Looks for files outside the lake.
///
/// What a network brings may not answer for hours, and nobody who holds a lake waits for it.
package final class OutsideFiles: Sendable {
  /// Those of this machine, as this process sees them.
  static let here = OutsideFiles(waiting: 10) { Disk.look(at: $0) }

  /// By the number of a mirror.
  private let questions = BoundedQuestions<Int64>("tarn-look")
  private let waitTime: Duration
  private let ask: @Sendable (String) -> Disk.Look

  /// Has looked at nothing yet.
  ///
  /// - Parameters:
  ///   - seconds: How long a look may take.
  ///   - look: Looks at a path. May block.
  package init(waiting seconds: Double, _ look: @escaping @Sendable (String) -> Disk.Look) {
    waitTime = .seconds(seconds)
    ask = look
  }

  /// Looks for a file.
  ///
  /// - Parameters:
  ///   - path: Where it would be.
  ///   - mirror: The number of the mirror that it is of: while one does not answer it is not asked again.
  /// - Returns: What is known by then.
  package func look(at path: String, on mirror: Int64) -> Disk.Look {
    let answers = questions.ask([mirror], within: waitTime) { [ask] _ in ask(path) }
    return answers[mirror] ?? .untold
  }
}

extension LakeCatalog {
  /// What rests on the newest bytes of a shard where no place is known to give them again, after a look at its files.
  ///
  /// Those are looked at that are places of its on this machine, and what was seen is recorded; one that could not be
  /// looked at counts as no place this time. Others are taken at the word of whoever asked them last: to ask takes
  /// time, and a network.
  ///
  /// - Parameter shard: A shard.
  /// - Returns: Versions and trained indexes, as people name them; none where the bytes may go.
  /// - Throws: ``TarnError`` when the catalog cannot be read or written.
  func dependentsAfterLook(onLastCopyOf shard: Shard) throws -> [String] {
    guard shard.state == .present, let byteCount = shard.revision?.byteCount else { return [] }
    var seen: [ProbeRecord] = []
    var untold: Set<Int64> = []
    for location in try locations(of: shard.id) {
      guard [.unknown, .present].contains(location.state), location.url.hasPrefix("file:///"),
        !EnvironmentPlace.isIn(location.url),
        let path = String(location.url.dropFirst("file://".count)).removingPercentEncoding
      else { continue }
      switch OutsideFiles.here.look(at: path, on: location.mirrorID) {
      case .file(byteCount): break
      case .file(let found):
        seen.append(
          ProbeRecord(
            shardID: shard.id, mirrorID: location.mirrorID, state: .faulty, byteCount: found,
            error: "\(found) bytes where the file had \(byteCount)"))
      case .gone: seen.append(ProbeRecord(shardID: shard.id, mirrorID: location.mirrorID, state: .absent))
      case .untold: untold.insert(location.mirrorID)
      }
    }
    if !seen.isEmpty { try recordProbes(seen) }
    return try dependents(onLastCopyOf: shard, without: untold)
  }
}
