// How many threads a variable says: nothing, a number, or what is none.

import Testing

import Base

@Suite struct ThreadCountTests {
  @Test func aNumberIsTakenAndNothingSaysNothing() throws {
    #expect(try ThreadCount.told(by: nil) == nil)
    #expect(try ThreadCount.told(by: "") == nil)
    #expect(try ThreadCount.told(by: "1") == 1)
    #expect(try ThreadCount.told(by: "1024") == 1024)
  }

  @Test(arguments: ["abc", "0", "-1", "1025", "2.5", " 3"]) func whatIsNoneIsRefused(text: String) {
    #expect(throws: TarnError.self) { try ThreadCount.told(by: text) }
  }
}
