// What is shown of transfers under way.

import Fetch
import Testing

@Suite struct TransferMeterTests {
  private let start = ContinuousClock.now

  @Test func shardsOfOneNameInTwoSourcesAreTwo() {
    var meter = TransferMeter()
    meter.take(1, label: "images/0.npy", byteCount: 0, totalByteCount: 10_000, at: start)
    meter.take(2, label: "captions/0.npy", byteCount: 0, totalByteCount: 800, at: start)
    let later = start + .seconds(1)
    meter.take(1, label: "images/0.npy", byteCount: 5_000, totalByteCount: 10_000, at: later)
    meter.take(2, label: "captions/0.npy", byteCount: 400, totalByteCount: 800, at: later)
    #expect(meter.rows.map(\.label) == ["images/0.npy", "captions/0.npy"])
    #expect(meter.rows.map(\.byteCount) == [5_000, 400])
    #expect(meter.rows.map(\.totalByteCount) == [10_000, 800])
    #expect(meter.rows.map(\.rate) == [5_000, 400])
    meter.forget(1)
    meter.forget(3)
    #expect(meter.rows.map(\.label) == ["captions/0.npy"])
  }

  @Test func newerRatesCountMoreAndShortSpansNotAtAll() {
    var row = TransferMeter.Row(label: "", byteCount: 0, totalByteCount: nil, at: start)
    row.take(1_000_000, at: start + .milliseconds(400))
    #expect(row.rate == nil && row.byteCount == 1_000_000)
    row.take(1_000_000, at: start + .seconds(1))
    #expect(row.rate == 1_000_000)
    row.take(1_000_000, at: start + .seconds(2))
    #expect(row.rate == 600_000)
  }
}
