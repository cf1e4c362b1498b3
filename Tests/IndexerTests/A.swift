import Testing
@Test func aIndexer() { #expect(1 == 1) }
