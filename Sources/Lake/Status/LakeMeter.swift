// How fast the work in a lake goes, and what holds it up, by looks that follow each other.

internal import Base
internal import Catalog

/// Looks of the last minute, and what they say of the speed.
///
/// Pure: the time is handed in.
package struct LakeMeter: Sendable {
  /// How far back a rate reaches.
  package static let window = Duration.seconds(60)
  /// What two looks must have between them before they say more than transfers that ended.
  private static let leastSpan = Duration.seconds(10)

  private var looks: [(at: ContinuousClock.Instant, look: LakeLook)] = []

  /// The items of the first look, which every rate begins at.
  private var first: [LakeLook.Item.Key: LakeLook.Item] = [:]

  package init() {}

  /// Takes a look.
  package mutating func take(_ look: LakeLook, at now: ContinuousClock.Instant) {
    looks.removeAll { now - $0.at > Self.window }
    looks.append((now, look))
    first = Dictionary(looks[0].look.items.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// The newest look.
  package var newest: LakeLook? { looks.last?.look }

  /// What an item gains a second; nil while that is not known, and when it stands still.
  package func rate(of item: LakeLook.Item) -> Double? {
    guard let begin = looks.first?.at, let end = looks.last?.at, let before = first[item.key] else { return nil }
    let gained = item.moved - before.moved
    let span = end - begin
    if span < Self.leastSpan, let past = before.pastRate { return past }
    return gained > 0 && span > .zero ? gained / span.seconds : nil
  }

  /// Seconds until an item is whole at this rate; nil when that cannot be told.
  package func secondsLeft(of item: LakeLook.Item) -> Double? {
    guard !item.isComplete, let rate = rate(of: item), let whole = item.wholeAmount, whole > item.amount else {
      return nil
    }
    return (whole - item.amount) / rate
  }

  /// Bytes a second that come, over all sources; nil where nothing does.
  package var byteRate: Double? { rate(of: .source) }

  /// Rows a second that are encoded, over all builds; nil where none is.
  package var rowRate: Double? { rate(of: .build) }

  private func rate(of kind: LakeLook.Item.Kind) -> Double? {
    let rates = (newest?.items ?? []).filter { $0.kind == kind }.compactMap { rate(of: $0) }
    return rates.isEmpty ? nil : rates.reduce(0, +)
  }

  /// What holds a build up, as far as rates tell: the source that it waits for, or encoding.
  package func bottleneck(of build: LakeLook.Item) -> String? {
    guard build.kind == .build, !build.isComplete else { return nil }
    let fetching = (newest?.items ?? []).filter { $0.kind == .source && !$0.isComplete && rate(of: $0) != nil }
    guard let slowest = fetching.max(by: { (secondsLeft(of: $0) ?? 0) < (secondsLeft(of: $1) ?? 0) }) else {
      return rate(of: build) == nil ? nil : "encoding"
    }
    guard let left = secondsLeft(of: slowest), let own = secondsLeft(of: build) else {
      return "fetching \(slowest.name)"
    }
    return left > own ? "fetching \(slowest.name)" : "encoding"
  }

  /// What holds the whole lake up, in a few words; nil where nothing is left to do.
  package var bottleneck: String? {
    guard let look = newest else { return nil }
    if let room = look.rooms.first, room.freeByteCount < room.keptByteCount {
      return
        "the disk: \(ByteSize.text(room.freeByteCount)) free, \(ByteSize.text(room.keptByteCount)) stay so; `tarn gc` shows what can go"
    }
    let open = look.items.filter { !$0.isComplete }
    guard !open.isEmpty else { return nil }
    let waits = look.commands.flatMap(\.waits)
    if !open.contains(where: { rate(of: $0) != nil }), let first = waits.min(by: { $0.until < $1.until }) {
      return "the network: waiting for \(first.host)"
    }
    if look.commands.isEmpty, byteRate == nil, rowRate == nil {
      return look.tasks.isEmpty ? "nothing: no command is at work" : "workers elsewhere"
    }
    if let build = open.first(where: { $0.kind == .build && bottleneck(of: $0) != nil }) {
      return bottleneck(of: build) == "encoding" ? "assignment (\(build.name) encodes)" : network
    }
    if byteRate != nil { return network }
    if open.contains(where: { $0.kind == .training }), look.commands.contains(where: { $0.text.hasPrefix("train") }) {
      return "training: searches and k-means"
    }
    return "nothing has moved in the last minute"
  }

  /// The network, or what keeps it from being faster.
  private var network: String {
    newest?.limit.map { "the network, with the limit \($0) of `tarn limit`" } ?? "the network"
  }
}
