import Testing
@Test func aCatalog() { #expect(1 == 1) }
