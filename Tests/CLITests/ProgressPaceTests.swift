// Rates and times left of work under way, by a clock that is made up.

import Lake
import Testing

@Suite struct ProgressPaceTests {
  private let start = ContinuousClock.now

  private func pace(_ samples: [(second: Double, gained: Double)], of total: Double? = nil) -> ProgressPace {
    var pace = ProgressPace()
    for sample in samples { pace.take(gained: sample.gained, total: total, at: start + .seconds(sample.second)) }
    return pace
  }

  @Test func nothingIsSaidAtOnce() {
    #expect(pace([]).rate == nil)
    #expect(pace([(0, 5)]).rate == nil)
    #expect(pace([(0, 5), (1, 50)]).rate == nil)
    #expect(pace([(0, 5), (9, 5)]).rate == nil)
  }

  /// A run that goes on counts what it does itself, and the time left is of what is left.
  @Test func whatAnEarlierRunLeftIsNoSpeed() {
    // 900 of 1000 were there; this run does 2 a second.
    let resumed = pace((0...10).map { (Double($0), Double(2 * $0)) }, of: 1_000)
    #expect(resumed.rate == 2)
    #expect(resumed.secondsLeft(1_000 - 920) == 40)
  }

  /// Work that begins late is not slower for it.
  @Test func timeBeforeTheFirstSampleDoesNotCount() {
    #expect(pace([(500, 0), (510, 100)]).rate == 10)
  }

  /// The next shard's rows are not the last one's.
  @Test func anotherThingIsCountedAnew() {
    #expect(pace([(0, 0), (10, 1_000), (11, 0), (21, 50)]).rate == 5)
    var pace = ProgressPace()
    pace.take(gained: 0, total: 100, at: start)
    pace.take(gained: 90, total: 100, at: start + .seconds(10))
    pace.take(gained: 90, total: 95, at: start + .seconds(11))
    #expect(pace.rate == nil)
    pace.take(gained: 92, total: 95, at: start + .seconds(15))
    #expect(pace.rate == 0.5)
  }

  @Test func followsAChangeOfSpeed() {
    // 100 a second for 100 seconds, then 1.
    let samples: [(second: Double, gained: Double)] = (0...200).map { second in
      let gained = second <= 100 ? 100 * second : 9_900 + second
      return (Double(second), Double(gained))
    }
    #expect(pace(samples).rate == 1)
  }

  /// An iteration an hour has a rate between two as well.
  @Test func stepsOfAnHourHaveARate() {
    let samples: [(second: Double, gained: Double)] = (0...3_600).map { look in
      let (second, hours) = (10 * look, look / 360)
      return (Double(second), Double(hours))
    }
    let rate = pace(samples).rate ?? 0
    #expect(rate > 0.5 / 3_600 && rate < 2.0 / 3_600, "\(rate)")
  }

  /// Held against the definition, over two days of looks.
  @Test func aSteadyPaceIsThatPace() {
    var pace = ProgressPace()
    for second in stride(from: 0.0, through: 172_800, by: 20) {
      pace.take(gained: 7 * second, total: nil, at: start + .seconds(second))
      if second > 20 { #expect(abs((pace.rate ?? 0) - 7) < 1e-6, "\(second)") }
    }
  }
}
