import Testing
@Test func aFetch() { #expect(1 == 1) }
