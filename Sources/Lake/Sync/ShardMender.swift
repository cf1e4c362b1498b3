// Damaged shards made whole where they lie: only the chunks that differ are
// fetched, each from any mirror that has it right.
//
// Invariants:
// 1. Nothing is written into the file that did not prove to be the chunk: its
//    bytes lead from the recorded state before it to the one after it.
// 2. The shard counts as mended only after the whole file was synced and its
//    SHA-256 was computed anew. A run that dies before leaves a file that is
//    damaged as it was, or less.

internal import Base
package import Catalog
package import Fetch
internal import Foundation
internal import Glibc

/// What was fetched to mend a shard.
package struct MendedChunks: Sendable, Equatable {
  /// As people read them: `3, 17-18 of 87`.
  package let text: String
  package let count: Int
  package let byteCount: Int
}

/// Mends shards by their chunks.
package final class ShardMender {
  private let catalog: LakeCatalog
  private let configuration: FetchConfiguration
  private let cancellation: Cancellation
  private var hosts: HostsInTrouble

  /// Prepares a mender.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - configuration: How to ask.
  ///   - waits: How mirrors are waited for that fail for now.
  ///   - cancellation: Asked now and then.
  package init(
    _ catalog: LakeCatalog, configuration: FetchConfiguration, waits: WaitOptions = WaitOptions(),
    cancellation: Cancellation
  ) {
    hosts = HostsInTrouble(waits)
    self.catalog = catalog
    self.configuration = configuration
    self.cancellation = cancellation
  }

  /// Makes a present shard whole again, and blocks until it is.
  ///
  /// - Parameter shard: A shard whose file is damaged, cut or too long.
  /// - Returns: What was fetched; nil when its chunks are not known, its file is
  ///   gone, or so much differs that fetching it whole is as cheap.
  /// - Throws: ``TarnError`` when no mirror gave a chunk, `.interrupted`
  ///   when it was stopped.
  package func mend(_ shard: Shard) throws -> MendedChunks? {
    guard shard.state == .present, !shard.isDropped, let path = shard.path, let revision = shard.revision,
      let chunks = try catalog.chunks(of: revision)
    else { return nil }
    let file = catalog.layout.path(path, in: .shards)
    guard Disk.size(of: file) != nil else { return nil }
    let damaged = try chunks.damaged(in: file, isCancelled: { cancellation.isCancelled })
    try cancellation.check()
    guard damaged.count <= max(1, chunks.count / 2), try hasServer(shard) else { return nil }
    // Of a file that was cut, or has holes, room comes to what is there.
    let byteCount = damaged.reduce(0) { $0 + chunks.range(of: $1).count }
    let room = min(byteCount, max(0, chunks.byteCount - Disk.allocatedByteCount(of: file)))
    if room > 0 {
      try catalog.requireRoom(for: "what \(shard.name) lacks", [RoomNeed(at: file, byteCount: room)])
    }
    try patch(file, chunks, damaged, shard)
    guard try Disk.digest(of: file) == revision.digest else {
      throw TarnError(
        .integrity, "\(shard.name) still differs after its chunks were written anew", hint: "check the disk")
    }
    let mended = MendedChunks(text: chunks.text(damaged), count: damaged.count, byteCount: byteCount)
    try catalog.recordMended(shard, chunks: mended.text, byteCount: byteCount)
    return mended
  }

  /// Whether something but commands has it.
  private func hasServer(_ shard: Shard) throws -> Bool {
    try catalog.locations(of: shard.id).contains { !CommandAddress.isOne($0.url) }
  }

  private func patch(_ file: String, _ chunks: ShardChunks, _ damaged: [Int], _ shard: Shard) throws {
    let descriptor = unsafe open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard descriptor >= 0 else { throw Disk.systemError("open", file) }
    defer { close(descriptor) }
    let reader = try RangeReader(
      configuration: configuration, isCancelled: { [cancellation] in cancellation.isCancelled })
    let kept = try catalog.source(id: shard.sourceID).keptQuery
    // A command writes a whole shard, and no chunk.
    let mirrors = try catalog.locations(of: shard.id).filter { $0.state != .absent && !CommandAddress.isOne($0.url) }
      .map { FetchMirror($0, keeping: kept) }
    for chunk in damaged {
      let bytes = try fetch(chunk, of: chunks, from: mirrors, reader, shard)
      try Disk.write(bytes.span.bytes, to: descriptor, at: chunks.range(of: chunk).lowerBound, named: file)
    }
    try FaultPlan.step("truncate", file)
    guard ftruncate(descriptor, off_t(chunks.byteCount)) == 0 else { throw Disk.systemError("truncate", file) }
    try FaultPlan.step("fsync", file)
    guard fsync(descriptor) == 0 else { throw Disk.systemError("fsync", file) }
  }

  /// One chunk from the first mirror that has it right; mirrors may mix here
  /// (R10), as every chunk is proved by itself.
  private func fetch(
    _ chunk: Int, of chunks: ShardChunks, from mirrors: [FetchMirror], _ reader: RangeReader, _ shard: Shard
  ) throws -> [UInt8] {
    var last = TarnError(.absent, "no mirror has it")
    var open = mirrors
    while true {
      var failed: [FetchMirror] = []
      for mirror in open {
        let host = configuration.host(of: mirror)
        guard [.well, .askable].contains(hosts.standing(host)) else {
          failed.append(mirror)
          continue
        }
        do throws(TarnError) {
          let bytes = try reader.read(chunks.range(of: chunk), of: chunks.byteCount, from: mirror)
          hosts.answered(host)
          if unsafe chunks.isRight(bytes.span.bytes, chunk: chunk) { return bytes }
          last = TarnError(.integrity, "\(mirror.redacted): other bytes than this revision's")
        } catch {
          if error.code == .interrupted { throw error }
          last = error.about(mirror.redacted)
          guard error.code == .temporary else { continue }
          hosts.failed(host, error.message)
          failed.append(mirror)
        }
      }
      open = failed
      let names = Set(open.map { configuration.host(of: $0) })
      guard try hosts.wait(for: names, shardCount: 1, cancellation) else { break }
    }
    if let first = open.first, last.code != .temporary {
      last = TarnError(.temporary, hosts.error(configuration.host(of: first)))
    }
    throw TarnError(last.code, "chunk \(chunk) of \(shard.name): \(last.message)", hint: last.hint)
  }
}
