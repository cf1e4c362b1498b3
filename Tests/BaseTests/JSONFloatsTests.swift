// Arrays of numbers read straight into floats: the same floats as by way of values, for every text.

import Base
import Foundation
import Testing

@Suite struct JSONFloatsTests {
  /// What the general reader makes of the member `v`: rows, a row, or neither.
  private func slow(_ body: [UInt8]) throws -> JSONFloats? {
    guard case .array(let elements)? = try JSONValue(reading: body)["v"] else { return nil }
    func row(_ elements: [JSONValue]) -> [Float]? {
      var row: [Float] = []
      for element in elements {
        switch element {
        case .integer(let number): row.append(Float(number))
        case .number(let number) where Float(number).isFinite: row.append(Float(number))
        default: return nil
        }
      }
      return row
    }
    if let row = row(elements) { return .row(row) }
    var rows: [[Float]] = []
    for element in elements {
      guard case .array(let elements) = element, let row = row(elements) else { return nil }
      rows.append(row)
    }
    return .rows(rows)
  }

  private func bits(_ floats: JSONFloats?) -> [[UInt32]]? {
    switch floats {
    case nil: nil
    case .row(let row): [row.map(\.bitPattern)]
    case .rows(let rows): rows.map { $0.map(\.bitPattern) } + [[]]
    }
  }

  /// Reads a body both ways and compares: the floats bit by bit, the fault, or the value.
  private func compare(_ text: String) throws {
    let body = Array(text.utf8)
    do {
      let wanted = try slow(body)
      let (value, floats) = try JSONValue.reading(body, floatsOf: ["v", "w"])
      #expect(bits(floats["v"]) == bits(wanted), "\(text.prefix(200))")
      if floats.isEmpty { #expect(try value == JSONValue(reading: body), "\(text.prefix(200))") }
    } catch let fault as JSONFault {
      #expect(throws: fault) { try JSONValue.reading(body, floatsOf: ["v", "w"]) }
    }
  }

  /// Numbers as programs write them, and as nobody would: between two floats, beyond them, of many digits.
  private func texts(_ random: inout SplitMix64) -> [String] {
    var texts: [String] = []
    let double = Double(bitPattern: random.next())
    let float = Float(bitPattern: UInt32(truncatingIfNeeded: random.next()))
    let between = (Double(float) + Double(float.nextUp)) / 2
    let usual = Double(Float(Int64(bitPattern: random.next()) >> 32) / 0x1p34)
    for value in [double, Double(float), between, between.nextUp, between.nextDown, usual] where value.isFinite {
      texts += [
        "\(value)", String(format: "%.17g", value), String(format: "%.9g", value), String(format: "%.30e", value),
        String(format: "%.60f", value),
      ]
    }
    let whole = Int64(bitPattern: random.next())
    texts += [
      "\(float)", "\(whole)", "\(whole >> (random.next() % 64))",
      "\(whole)\(random.next() % 1000)", "\(whole).\(random.next())e\(Int(random.next() % 840) - 420)",
      "0.\(String(repeating: "0", count: Int(random.next() % 30)))\(random.next())E+\(random.next() % 40)",
    ]
    return texts
  }

  @Test func everyNumberIsTheSameFloat() throws {
    var random = SplitMix64(seed: 41)
    for _ in 0..<100 {
      let texts = texts(&random)
      // Together, where one that is no float spoils all, and alone.
      try compare("{\"v\":[\(texts.joined(separator: " , "))]}")
      for text in texts { try compare("{\"v\":[\(text)]}") }
    }
  }

  @Test(arguments: [
    "0", "-0", "-0.0", "0e5", "-0e-5", "1e38", "3.4028235e38", "3.4028236e38",
    "3.40282356779733661637539395458142568447e38",
    "3.40282356779733661637539395458142568448e38", "1e39", "-1e39", "1e308", "1e309", "1e999", "-1e999", "1e-45",
    "7e-46",
    "7.0064923216240853546186479164495e-46", "7.0064923216240853546186479164496e-46", "1e-400", "16777217",
    "16777217.0",
    "9007199254740993", "9007199791611905", "9007199791611904.0", "9223372036854775807", "9223372036854775808",
    "99999999999999999999", "12345678901234567890123456789", "1.00000017881393432617187499",
    "1.00000017881393432617187500",
    "1.00000017881393432617187501", "1e", "1e+", "1.", ".5", "+1", "01", "00", "-", "--1", "1.5.5", "NaN", "Infinity",
    "0x10", "1_0", "1 2", "null", "true", "\"1\"", "[]", "[1]", "[[1]]", "{}", "1,", ",1", "1,,2", "[1],2", "1,[2]",
    "[1],",
    "[1],[", "[1],[2", "[1]]", "1e100000000000000000000", "1e-100000000000000000000",
    "0.0000000000000000000000000000000000001",
    "\u{0}", "\u{FEFF}1", "1\u{A0}", "\t1\r\n,\n2 ", " ",
  ])
  func oddNumbersAndArraysAreTheSame(text: String) throws {
    for body in [
      "{\"v\":[\(text)]}", "{\"v\":[[\(text)]]}", "{\"v\":[[1],[2,\(text)]]}", "{\"v\" : [ 1 , \(text) ] }",
      "{\"v\":[\(text)",
      "{\"v\":\(text)}", "[{\"v\":[\(text)]}]", "{\"a\":{\"v\":[\(text)]}}", "{\"v\":[\(text)],\"v\":[1]}",
      "{\"v\":[1],\"v\":[\(text)]}", "{\"v\":[1],\"\\u0076\":[\(text)]}", "{\"w\":[1],\"v\":[\(text)]}",
      "{\"v\":[\(text)]} x", "{\"v\":[\(text)]",
    ] { try compare(body) }
  }

  @Test func longOnesAreTheSame() throws {
    try compare("{\"v\":[\((0..<100_000).map { "\($0).5e-3" }.joined(separator: ","))]}")
    try compare("{\"v\":[0.\(String(repeating: "0", count: 100_000))1]}")
    try compare("{\"v\":[1\(String(repeating: "0", count: 400))]}")
    try compare("{\"v\":[\(String(repeating: "9", count: 100_000))e-99999]}")
    try compare("{\"v\":\(String(repeating: "[", count: 200_000))")
    try compare("{\"v\":[\(String(repeating: "[],", count: 1000))[]]}")
  }

  @Test func noPrefixReadsPastTheEnd() throws {
    let whole = "{\"v\":[[0.12345678901234567,-1.5e-7],[3,4]],\"w\":[1.25]}"
    for count in 0..<whole.utf8.count { try compare(String(whole.prefix(count))) }
    var random = SplitMix64(seed: 42)
    for _ in 0..<1000 {
      var bytes = Array(whole.utf8)
      for _ in 0...random.next() % 3 {
        bytes[Int(random.next() % UInt64(bytes.count))] =
          Array("0123456789.eE+-,[]{}\" \"".utf8)[Int(random.next() % 23)]
      }
      try compare(String(decoding: bytes, as: UTF8.self))
    }
  }
}
