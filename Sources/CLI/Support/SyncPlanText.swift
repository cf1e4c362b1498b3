// What `sync --dry-run` says.

internal import Base
internal import Lake

extension SyncPlan {
  /// The plan as a JSON document.
  var json: [String: JSONValue] {
    [
      "shards": .count(shards.count), "bytes": .count(byteCount), "partial_bytes": .count(partialByteCount),
      "unknown_sizes": .count(unknownSizeCount), "present": .count(presentCount),
      "missing": .array(missing.map { .string($0.name) }), "free_bytes": .count(freeByteCount),
      "held_bytes": .count(cachedByteCount), "budget": .optionalCount(budget),
      "fits_budget": .bool(fitsBudget), "fits_disk": .bool(fitsDisk),
      "bytes_per_second": .optionalNumber(bytesPerSecond), "seconds": .optionalNumber(seconds),
    ]
  }

  /// The plan for people, a fact a line.
  var lines: [String] {
    let tooLittle = ", too little for all"
    let unknown = unknownSizeCount == 0 ? "" : " and \(unknownSizeCount) of unknown size"
    var lines = ["to fetch  \(shards.count.counted("shard")), \(ByteSize.text(byteCount))\(unknown)"]
    if partialByteCount > 0 { lines.append("resumed   \(ByteSize.text(partialByteCount)) are here in part files") }
    lines.append("here      \(presentCount) of these shards; the lake holds \(ByteSize.text(cachedByteCount))")
    lines.append("disk      \(ByteSize.text(freeByteCount)) free\(fitsDisk ? "" : tooLittle)")
    if let budget { lines.append("budget    \(ByteSize.text(budget))\(fitsBudget ? "" : tooLittle)") }
    if let bytesPerSecond, let seconds {
      lines.append("time      \(TimeSpan.text(seconds: seconds)) at \(ByteSize.text(Int(bytesPerSecond)))/s")
    } else {
      lines.append("time      not known before the first transfer")
    }
    if !missing.isEmpty {
      lines.append("missing   \(missing.count) on no mirror: \(missing.map(\.name).listed(20))")
    }
    return lines
  }
}
