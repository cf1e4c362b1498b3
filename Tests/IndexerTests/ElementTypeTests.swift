// Every element type is converted to float32 as it is defined, bit for bit and at every
// level of the CPU, and what it converts to decides what a row is fit for.

import Base
import CRows
import Features
import Indexer
import Testing
import TestSupport

private func little<Number: FixedWidthInteger>(_ values: [Number]) -> [UInt8] {
  values.flatMap { value in (0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
}

@Suite struct ElementTypeTests {
  private func converted(_ bytes: [UInt8], _ type: ElementType, level: Int32) -> [Float] {
    let count = bytes.count / type.byteCount
    return unsafe [Float](unsafeUninitializedCapacity: count) { buffer, written in
      // Data need not be aligned.
      let shifted = [0] + bytes
      unsafe shifted.withUnsafeBytes { raw in
        if let start = raw.baseAddress, let output = buffer.baseAddress {
          unsafe crows_widen(level, start + 1, type.code, count, output)
        }
      }
      written = count
    }
  }

  private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

  @Test func float64IsRoundedOnceToTheNearest() {
    var random = SplitMix64(seed: 11)
    var values = [0, -0.0, 1, 0x1p-149, 0x1p-150, 0x1.8p-149, 0x1.000001p0, 0x1.0000018p0, 1e300, -1e-300, .infinity]
    // Halfway between floats, a little less and a little more; and any bits at all.
    for _ in 0..<2_000 {
      let low = Double(Float(bitPattern: UInt32(truncatingIfNeeded: random.next()) & 0x7F7F_FFFF))
      let half = low + (Double(Float(low).nextUp) - low) / 2
      values += [half, half.nextUp, half.nextDown, -half]
      values.append(Double(bitPattern: random.next()))
    }
    values = values.filter { !$0.isNaN }
    // The first float that rounds to an infinity, and the last that does not.
    values += [0x1.ffffffp127, 0x1.fffffefffffffp127]
    for level in SimdLevel.all {
      #expect(
        bits(converted(little(values.map(\.bitPattern)), .float64, level: level)) == bits(values.map { Float($0) }))
      #expect(converted(little([Double.nan.bitPattern]), .float64, level: level)[0].isNaN)
    }
  }

  @Test func theOthersAreExact() {
    for level in SimdLevel.all {
      let halves = (0...UInt16.max).map { $0 }
      for (half, value) in zip(halves, converted(little(halves), .bfloat16, level: level)) {
        let expected = Float(bitPattern: UInt32(half) << 16)
        #expect(expected.isNaN ? value.isNaN && !value.isSignalingNaN : value.bitPattern == expected.bitPattern)
      }
      let all = (0...UInt8.max).map { $0 }
      #expect(converted(all, .uint8, level: level) == all.map { Float($0) })
      #expect(converted(all, .int8, level: level) == all.map { Float(Int8(bitPattern: $0)) })
    }
  }

  @Test func aRowIsWhatItsElementsConvertTo() {
    for dimension in [1, 3, 256, 257, 600] {
      func row(_ value: Double) -> [UInt64] {
        var row = [Double](repeating: 0, count: dimension)
        row[dimension - 1] = value
        return row.map(\.bitPattern)
      }
      let rows = [1, 1e300, 1e-300, .nan, -0.0, -1].flatMap(row)
      let causes: [UInt32: [Int]] = [
        CROWS_ROW_INFINITE.rawValue: [1], CROWS_ROW_ZERO.rawValue: [2, 4], CROWS_ROW_NAN.rawValue: [3],
      ]
      for level in SimdLevel.all {
        var found: [UInt32: [Int]] = [:]
        var first = 0
        while first < 6 {
          var cause: Int32 = 0
          first = unsafe crows_find_bad_row(level, little(rows), ElementType.float64.code, dimension, first, 6, &cause)
          if first < 6 { found[UInt32(cause), default: []].append(first) }
          first += 1
        }
        #expect(found == causes)
      }
    }
  }

  @Test func sumsAreOfTheConverted() {
    let values: [Double] = [1e300, 0.1, -3, 7, 1e-60]
    for level in SimdLevel.all {
      var sums = [Double](repeating: 1, count: values.count)
      unsafe crows_add_row(level, little(values.map(\.bitPattern)), ElementType.float64.code, values.count, &sums)
      #expect(sums == values.map { 1 + Double(Float($0)) })
    }
  }

  @Test func everyTypeIsReadFromTheFormatsThatHaveIt() throws {
    let directory = try TemporaryDirectory()
    let values: [Float] = [1, 2, 3, 4, 5, 6]
    func elements(_ type: ElementType) -> [UInt8] {
      switch type {
      case .float16: little(values.map { Float16($0).bitPattern })
      case .float32: bytes(values)
      case .float64: little(values.map { Double($0).bitPattern })
      case .bfloat16: little(values.map { UInt16($0.bitPattern >> 16) })
      case .uint8, .int8: values.map { UInt8($0) }
      }
    }
    func check(_ name: String, _ content: [UInt8], _ type: ElementType) throws {
      let path = "\(directory.path)/\(name)"
      try write(content, to: path)
      let file = try FeatureFile(path, dimension: 3, elementType: type)
      #expect(file.rowCount == 2 && file.matrix.floats(rows: 0..<2) == values, "\(name)")
    }
    for (type, word) in [
      (ElementType.float16, "F16"), (.float32, "F32"), (.float64, "F64"), (.bfloat16, "BF16"), (.uint8, "U8"),
      (.int8, "I8"),
    ] {
      let data = elements(type)
      let header = #"{"x":{"dtype":"\#(word)","shape":[2,3],"data_offsets":[0,\#(data.count)]}}"#
      try check("\(word).safetensors", FeatureFiles.safetensors(header, data: data), type)
    }
    for (type, word) in [(ElementType.float64, "<f8"), (.uint8, "|u1"), (.int8, "|i1")] {
      let header = NpyHeader.bytes(descr: word, rowCount: 2, columns: 3)
      try check("\(type).npy", header + elements(type), type)
    }
    for (type, word) in [
      (ElementType.float64, "Double"), (.bfloat16, "BFloat16"), (.uint8, "Byte"), (.int8, "Char"),
    ] {
      var pickle = PickleMaker()
      pickle.storage = word + "Storage"
      try check("\(word).pt", FeatureFiles.torch(pickle.pickle(), data: elements(type)), type)
    }
    let shape = little([UInt32(2), 3])
    try check("a.f16bin", shape + elements(.float16), .float16)
    try check("a.u8bin", shape + elements(.uint8), .uint8)
    try check("a.i8bin", shape + elements(.int8), .int8)
    try check("a.bvecs", little([UInt32(3)]) + [1, 2, 3] + little([UInt32(3)]) + [4, 5, 6], .uint8)
  }
}
