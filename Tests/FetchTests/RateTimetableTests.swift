import Fetch
import Foundation
import Testing
import TestSupport

@Suite struct RateTimetableTests {
  private func parse(_ text: String) -> RateTimetable? {
    RateTimetable(parsing: text) { $0.hasSuffix("M") ? Int($0.dropLast()).map { $0 * 1_000_000 } : Int($0) }
  }

  @Test func oneRateHoldsAllDay() throws {
    let table = try #require(parse("5M"))
    #expect(table == RateTimetable(bytesPerSecond: 5_000_000))
    #expect(table.limit(atMinute: 0) == 5_000_000 && table.limit(atMinute: 1_439) == 5_000_000)
    let off = try #require(parse("off"))
    #expect((0..<1_440).allSatisfy { off.limit(atMinute: $0) == nil })
  }

  @Test func anEntryHoldsUntilTheNextAndTheLastUntilMorning() throws {
    let table = try #require(parse("19:00,off 08:00,10M 12:30,7"))
    let seen = [0, 479, 480, 749, 750, 1_139, 1_140, 1_439].map { table.limit(atMinute: $0) }
    #expect(seen == [nil, nil, 10_000_000, 10_000_000, 7, 7, nil, nil])
  }

  @Test func theHourIsThatOfThisMachine() throws {
    let table = try #require(parse("08:00,1 09:00,2"))
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = try #require(TimeZone(secondsFromGMT: 3_600))
    // 07:30 UTC is 08:30 there.
    #expect(table.limit(at: Date(timeIntervalSince1970: 27_000), in: calendar) == 1)
    calendar.timeZone = try #require(TimeZone(secondsFromGMT: 7_200))
    #expect(table.limit(at: Date(timeIntervalSince1970: 27_000), in: calendar) == 2)
  }

  @Test(arguments: [
    "", "fast", "08:00", "08:00,", "24:00,1", "08:60,1", "8,1", "08:00,1 08:00,2", "08:00,1,2", "-1:00,1",
  ])
  func refusesWhatItDoesNotUnderstand(text: String) {
    #expect(parse(text) == nil)
  }
}

@Suite struct CredentialsTests {
  @Test func aTokenIsForItsOriginAlone() {
    let credentials = Credentials(environment: ["HF_TOKEN": "hf_secret"])
    #expect(credentials.headers(for: "https://huggingface.co:443") == ["Authorization: Bearer hf_secret"])
    for origin in [
      "http://huggingface.co:80", "https://huggingface.co:8443", "https://cdn-lfs.huggingface.co:443",
      "https://huggingface.co.example.com:443",
    ] {
      #expect(credentials.headers(for: origin) == [], "\(origin)")
    }
  }

  @Test(arguments: ["", "two words", "new\nline"]) func aTokenThatCannotBeOneIsNotSent(token: String) {
    #expect(Credentials(environment: ["HF_TOKEN": token]).headers(for: "https://huggingface.co:443") == [])
  }
}
