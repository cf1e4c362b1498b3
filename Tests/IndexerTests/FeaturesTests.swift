import Base
import CRows
import Features
import Foundation
import Testing
import TestSupport

@Suite struct FeaturesTests {
  /// A directory that goes with the test.
  private final class Directory {
    let path = NSTemporaryDirectory() + "tarn-features-\(UUID().uuidString)"
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    func write(_ bytes: [UInt8], _ name: String = "a.npy") throws -> String {
      try Data(bytes).write(to: URL(fileURLWithPath: path + "/" + name))
      return path + "/" + name
    }
  }

  private func npy(_ descr: String, _ rows: Int, _ dimension: Int, _ data: [UInt8], padding: Int = 0) -> [UInt8] {
    let text = "{'descr': '\(descr)', 'fortran_order': False, 'shape': (\(rows), \(dimension)), }"
    let padded = text + String(repeating: " ", count: padding) + "\n"
    let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0]
    return magic + [UInt8(padded.utf8.count & 255), UInt8(padded.utf8.count >> 8)] + Array(padded.utf8) + data
  }

  private func bytes(_ halves: [UInt16]) -> [UInt8] { halves.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] } }

  @Test func widensEveryFloat16AsSwiftDoesAtEveryLevelAndAlignment() throws {
    let directory = try Directory()
    let halves = (0...UInt16.max).map { $0 }
    for padding in 0..<4 {
      let path = try directory.write(npy("<f2", 256, 256, bytes(halves), padding: padding), "p\(padding).npy")
      let file = try FeatureFile(path, dimension: 256, elementType: .float16)
      for level in SimdLevel.all {
        var output = [Float](repeating: 7, count: halves.count)
        unsafe crows_widen(level, halves, 0, halves.count, &output)
        for half in halves {
          let expected = Float(Float16(bitPattern: half))
          let actual = output[Int(half)]
          #expect(actual.bitPattern == expected.bitPattern || (actual.isNaN && expected.isNaN), "\(half) at \(level)")
        }
        #expect(output[0x7C01].bitPattern == 0x7FC0_2000, "a signalling NaN becomes quiet at level \(level)")
      }
      #expect(file.matrix.floats(rows: 60..<61) == (15360..<15616).map { Float(Float16(bitPattern: UInt16($0))) })
    }
  }

  @Test func readsFloat32RowsAtAnyAlignment() throws {
    let directory = try Directory()
    let values: [Float] = [1, -2.5, .leastNonzeroMagnitude, 4, 5, 6]
    let data = values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) } }
    let file = try FeatureFile(directory.write(npy("<f4", 2, 3, data, padding: 1)))
    var output = [Float](repeating: 0, count: 3)
    var span = output.mutableSpan
    file.widen(rows: 1..<2, into: &span)
    #expect(output == [4, 5, 6])
    #expect(file.matrix.floats(rows: 0..<2) == values)
    #expect(file.matrix.firstBadRow() == nil)
  }

  @Test func namesTheRowAndCauseOfEachBadRow() throws {
    var random = SplitMix64(seed: 3)
    for dimension in [1, 7, 64, 769] {
      for type in [ElementType.float16, .float32] {
        let rows = 40
        var values = (0..<(rows * dimension)).map { _ in Float16(random.unit() + 2) }
        let nan = 5, infinite = 17, zero = 39
        values[nan * dimension + dimension / 2] = .nan
        values[infinite * dimension + dimension - 1] = -.infinity
        for j in 0..<dimension { values[zero * dimension + j] = j % 2 == 0 ? 0 : -0.0 }
        let data =
          type == .float16
          ? bytes(values.map(\.bitPattern))
          : values.flatMap { v in (0..<4).map { UInt8(truncatingIfNeeded: Float(v).bitPattern >> (8 * $0)) } }
        let directory = try Directory()
        let file = try FeatureFile(directory.write(npy(type == .float16 ? "<f2" : "<f4", rows, dimension, data)))
        let expected = [
          FeatureMatrix.BadRow(row: nan, defect: .nan), .init(row: infinite, defect: .infinite),
          .init(row: zero, defect: .zero),
        ]
        #expect(file.matrix.badRows() == expected)
        #expect(file.matrix.badRows(in: 6..<39) == [expected[1]])
        for level in SimdLevel.all {
          var cause: Int32 = 0
          let first = unsafe crows_find_bad_row(
            level, data, type == .float16 ? 0 : 1, dimension, 18, rows, &cause)
          #expect(first == zero && cause == 3)
        }
        let error = file.unfit(try #require(file.matrix.firstBadRow()))
        #expect(error.code == .badFeatures && error.message.contains("row 5 holds a NaN"))
        // The file that is named may be the lake's own copy, which nobody may write.
        #expect(error.hint?.contains("where it comes from") == true)
      }
    }
  }

  @Test func whatFloat32DoesNotHoldIsToldAsThat() throws {
    let rows: [([Double], String)] = [
      ([1, 1e300], "a number beyond float32"), ([1e300, -.infinity], "an infinity"), ([0, -0.0], "only zeros"),
      ([0, 1e-300], "only numbers that are zero in float32"), ([1e300, .nan], "a NaN"),
    ]
    for (row, words) in rows {
      let directory = try Directory()
      let data = row.flatMap { v in (0..<8).map { UInt8(truncatingIfNeeded: v.bitPattern >> (8 * $0)) } }
      let file = try FeatureFile(directory.write(npy("<f8", 1, 2, data)))
      let error = file.unfit(try #require(file.matrix.firstBadRow()))
      #expect(error.message.hasSuffix("row 0 holds \(words)"), "\(error.message)")
    }
  }

  @Test func aNanInARowOfZerosIsANan() {
    #expect(FeatureMatrix([0, .nan, .infinity, 0], dimension: 4).firstBadRow() == .init(row: 0, defect: .nan))
  }

  @Test func refusesWhatIsNotAWholeMatrixOfTheWantedKind() throws {
    let directory = try Directory()
    let whole = npy("<f2", 3, 4, [UInt8](repeating: 1, count: 24))
    func refusal(_ bytes: [UInt8], dimension: Int? = 4, _ type: ElementType? = .float16) throws -> TarnError {
      let path = try directory.write(bytes)
      let error = try #require(throws: TarnError.self) {
        _ = try FeatureFile(path, dimension: dimension, elementType: type)
      }
      #expect(error.message.contains(path))
      #expect(error.code == .badFeatures)
      return error
    }
    #expect(throws: Never.self) { _ = try FeatureFile(try directory.write(whole), dimension: 4) }
    #expect(
      try refusal(whole.dropLast()).message.contains("\(whole.count - 1) bytes; [3 x 4] float16 needs \(whole.count)"))
    #expect(try refusal(whole + [0]).hint == "it has bytes after its last row")
    #expect(try refusal(Array(whole.prefix(30))).message.contains("ends inside its header, after 30 bytes"))
    #expect(try refusal([]).message.contains("ends inside"))
    #expect(try refusal(Array("<html>not found</html>".utf8)).message.contains("HTML"))
    #expect(try refusal(whole, dimension: 5).message.contains("rows of 4 elements, not 5"))
    #expect(try refusal(whole, .float32).message.contains("holds float16, not float32"))
    #expect(try refusal(npy("<i8", 1, 4, [UInt8](repeating: 1, count: 32))).message.contains("dtype"))
    let missing = try #require(throws: TarnError.self) { _ = try FeatureFile(directory.path + "/none.npy") }
    #expect(missing.code == .inputsMissing)
    #expect(throws: TarnError.self) { _ = try FeatureFile(directory.path) }
  }

  @Test func aFileWithoutRowsIsAMatrixWithoutRows() throws {
    let directory = try Directory()
    let file = try FeatureFile(directory.write(npy("<f2", 0, 4, [])))
    #expect(file.rowCount == 0 && file.matrix.firstBadRow() == nil)
    file.matrix.advise(.sequential)
  }
}
