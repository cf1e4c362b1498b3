// JSON that others wrote: what is read, and what is refused.

import Base
import Testing

@Suite struct JSONReaderTests {
  private func text(_ json: String) -> String? { JSONValue(parsing: json)?.text }

  @Test(arguments: [
    ("null", "null"), (" [ ] ", "[]"), ("{\r\n\t}", "{}"), ("[1,-2,0]", "[1,-2,0]"), ("1.5e3", "1500.0"),
    ("9223372036854775807", "9223372036854775807"), ("{\"b\":1,\"a\":[true,false]}", "{\"a\":[true,false],\"b\":1}"),
    ("\"\\u0041\\n\\/\"", "\"A\\n/\""), ("\"\\ud83d\\ude00\"", "\"😀\""), ("\"é😀\"", "\"é😀\""),
  ])
  func readsWhatIsJSON(json: String, canonical: String) { #expect(text(json) == canonical) }

  @Test(arguments: [
    "", " ", "[", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":1}",
    "nul", "+1",
    "01", "1.", ".5", "1e", "--1", "1e999", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ude00\\ud83d\"", "\"\n\"",
    "[] []", "\u{FEFF}1", "NaN", "'a'",
  ])
  func refusesTheRest(json: String) { #expect(text(json) == nil) }

  @Test func refusesWhatIsNoUTF8() {
    #expect(throws: JSONFault.self) { try JSONValue(reading: [0x22, 0xC3, 0x28, 0x22]) }
    #expect(throws: JSONFault.self) { try JSONValue(reading: [0x22, 0xED, 0xA0, 0x80, 0x22]) }
  }

  @Test func depthHasABound() {
    func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
    #expect(text(nested(128)) == nested(128))
    #expect(text(nested(129)) == nil)
    #expect(text(String(repeating: "[", count: 1_000_000)) == nil)
  }

  @Test func saysWhere() {
    let fault = #expect(throws: JSONFault.self) { try JSONValue(reading: Array("{\"a\":1,\"a\":2}".utf8)) }
    #expect(fault?.message == "the member 'a' is there twice")
    #expect(fault?.offset == 12)
  }
}
