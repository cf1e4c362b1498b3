import Testing
@Test func aCLI() { #expect(1 == 1) }
