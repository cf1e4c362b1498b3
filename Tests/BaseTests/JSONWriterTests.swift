// JSON as it is written: one text for a value, and the same with escapes for what is hidden.

import Base
import Testing

@Suite struct JSONWriterTests {
  @Test(arguments: [
    (JSONValue.string("a\"b\\c/\n\r\t\u{1}\u{1F}é😀"), "\"a\\\"b\\\\c/\\n\\r\\t\\u0001\\u001fé😀\""),
    (
      .array([.null, .bool(true), .integer(.min), .number(-0.0), .number(1e100), .number(.infinity)]),
      "[null,true,-9223372036854775808,-0.0,1e+100,null]"
    ),
    (
      .object(["b": .array([]), "a": .object([:]), "ä": .string(""), "a\"": .integer(0)]),
      "{\"a\":{},\"a\\\"\":0,\"b\":[],\"ä\":\"\"}"
    ),
  ])
  func aValueHasOneText(value: JSONValue, text: String) {
    #expect(value.text == text)
    #expect(JSONValue(parsing: text) == value || text.contains("null"))
  }

  @Test func whatIsHiddenIsEscapedAsInText() throws {
    var random = SplitMix64(seed: 43)
    for _ in 0..<500 {
      var text = ""
      for _ in 0..<random.next() % 12 {
        let range: UInt32 = [0x80, 0x100, 0x3000, 0x1_0000, 0x11_0000][Int(random.next() % 5)]
        if let scalar = Unicode.Scalar(UInt32(truncatingIfNeeded: random.next()) % range) {
          text.unicodeScalars.append(scalar)
        }
      }
      let value = JSONValue.object([text: .array([.string(text), .number(0.25)])])
      let bytes = value.escapedBytes
      #expect(String(decoding: bytes, as: UTF8.self) == value.text.escapedJSON)
      #expect(try JSONValue(reading: bytes) == value)
    }
    #expect(JSONValue.string("\u{202E}\u{E0001}\u{7F}").escapedBytes == Array("\"\\u202e\\udb40\\udc01\\u007f\"".utf8))
  }
}
