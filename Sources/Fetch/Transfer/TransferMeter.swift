// How far transfers under way are and how fast, for whoever shows them. Pure:
// the time is handed in.

internal import Base

/// The transfers under way, each with its rate.
package struct TransferMeter: Sendable {
  /// One transfer, or all of them together.
  package struct Row: Sendable, Equatable {
    /// What people call it.
    package let label: String
    package private(set) var byteCount: Int
    package fileprivate(set) var totalByteCount: Int?
    /// Bytes a second, newer ones count more; nil before half a second passed.
    package private(set) var rate: Double?
    private var sampledAt: ContinuousClock.Instant
    private var sampledByteCount: Int

    package init(label: String, byteCount: Int, totalByteCount: Int?, at now: ContinuousClock.Instant) {
      self.label = label
      self.byteCount = byteCount
      self.totalByteCount = totalByteCount
      sampledAt = now
      sampledByteCount = byteCount
    }

    /// Takes the bytes held now.
    package mutating func take(_ byteCount: Int, at now: ContinuousClock.Instant) {
      self.byteCount = byteCount
      let seconds = (now - sampledAt).seconds
      guard seconds >= 0.5 else { return }
      let latest = Double(max(0, byteCount - sampledByteCount)) / seconds
      rate = rate.map { 0.6 * $0 + 0.4 * latest } ?? latest
      (sampledAt, sampledByteCount) = (now, byteCount)
    }
  }

  /// By request: names are of sources, and two of them may have the same.
  private var rowsByRequest: [Int64: Row] = [:]
  private var order: [Int64] = []

  package init() {}

  /// In the order in which they began.
  package var rows: [Row] { order.compactMap { rowsByRequest[$0] } }

  /// Takes the bytes held of a request now.
  package mutating func take(
    _ requestID: Int64, label: @autoclosure () -> String, byteCount: Int, totalByteCount: Int?,
    at now: ContinuousClock.Instant
  ) {
    guard var row = rowsByRequest[requestID] else {
      order.append(requestID)
      rowsByRequest[requestID] = Row(label: label(), byteCount: byteCount, totalByteCount: totalByteCount, at: now)
      return
    }
    row.totalByteCount = totalByteCount
    row.take(byteCount, at: now)
    rowsByRequest[requestID] = row
  }

  /// Forgets a request that ended.
  package mutating func forget(_ requestID: Int64) {
    guard rowsByRequest.removeValue(forKey: requestID) != nil else { return }
    order.removeAll { $0 == requestID }
  }
}
