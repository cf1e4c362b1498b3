// The formats of feature files: good ones are read alike, and each way to be
// bad has its line.

import Base
import Features
import Testing
import TestSupport

struct FormatsTests {
  @Test func everyFormatGivesTheSameRows() throws {
    let scratch = try Scratch()
    for (name, data) in FeatureFiles.all {
      let path = scratch.file("rows.\(name)")
      try write(data, to: path)
      let file = try FeatureFile(path, dimension: 3)
      #expect(file.matrix.floats(rows: 0..<2) == FeatureFiles.values, "\(name)")
      #expect(file.elementType == (name == "pt" ? .float16 : .float32))
      #expect(file.matrix.firstBadRow() == nil)
      file.matrix.advise(.sequential)
    }
  }

  @Test func aTensorMayBeAPartOfItsStorage() throws {
    let scratch = try Scratch()
    var maker = PickleMaker()
    (maker.storage, maker.offset, maker.shape) = ("FloatStorage", 3, [1, 3])
    try write(
      FeatureFiles.torch(maker.pickle(), data: bytes(FeatureFiles.values)),
      to: scratch.file("part.tensor"))
    #expect(try FeatureFile(scratch.file("part.tensor")).matrix.floats(rows: 0..<1) == [4, 5, 6])
  }

  /// A file of several tensors: a matrix at its end, one of bytes before, ids and a mask.
  private static func tensors(cut count: Int = 0) -> [UInt8] {
    let header = [
      #""emb":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]}"#,
      #""small":{"dtype":"U8","shape":[2,3],"data_offsets":[16,22]}"#,
      #""ids":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}"#,
      #""mask":{"dtype":"BOOL","shape":[2,1],"data_offsets":[22,24]}"#,
    ].joined(separator: ",")
    let data = [UInt8](repeating: 1, count: 24) + bytes(FeatureFiles.values)
    return FeatureFiles.safetensors("{\(header)}", data: Array(data.dropLast(count)))
  }

  @Test func aTensorOfSeveralIsReadByItsName() throws {
    let scratch = try Scratch()
    let path = scratch.file("a.safetensors")
    try write(Self.tensors(), to: path)
    #expect(try FeatureFile(path, array: "emb").matrix.floats(rows: 0..<2) == FeatureFiles.values)
    let small = try FeatureFile(path, array: "small", dimension: 3, elementType: .uint8)
    #expect(small.matrix.floats(rows: 0..<2) == [1, 1, 1, 1, 1, 1])
    var given: [UInt8] = []
    try FeatureStream(path, array: "emb").drain { given += $0 }
    #expect(given == bytes(FeatureFiles.values))
    let none = try #require(throws: TarnError.self) { _ = try FeatureFile(path) }
    #expect(none.message.hasSuffix("it has 4 arrays, and which of them holds the features is not said"))
    #expect(none.hint == "say --array NAME: it has ids, small, mask, emb")
    let other = try #require(throws: TarnError.self) { _ = try FeatureFile(path, array: "__metadata__") }
    #expect(other.message.hasSuffix("it has no array '__metadata__'"))
    expectRefusal(.badFeatures, naming: "its dtype is I64") { _ = try FeatureFile(path, array: "ids") }
    // Its beginning tells how long it is, and leaves the rows to who knows which tensor is meant.
    let data = Self.tensors()
    guard case .head(let head) = FeatureHead.parse(data, of: .safetensors, byteCount: nil) else {
      Issue.record("no head")
      return
    }
    #expect(head.fileByteCount == data.count && head.rowCount == nil)
    try write(Self.tensors(cut: 1), to: path)
    expectRefusal(.badFeatures, naming: "the whole of its 4 tensors needs") {
      _ = try FeatureFile(path, array: "small")
    }
  }

  /// What can be no features beside one matrix leaves nothing to choose.
  @Test func theOnlyMatrixAmongTensorsIsTaken() throws {
    let scratch = try Scratch()
    let path = scratch.file("a.safetensors")
    let ids = #""ids":{"dtype":"I64","shape":[2],"data_offsets":[24,40]}"#
    for (dtype, isGood) in [("F32", true), ("I32", false)] {
      let header = #"{"emb":{"dtype":"\#(dtype)","shape":[2,3],"data_offsets":[0,24]},\#(ids)}"#
      let data = bytes(FeatureFiles.values) + [UInt8](repeating: 0, count: 16)
      try write(FeatureFiles.safetensors(header, data: data), to: path)
      if isGood {
        #expect(try FeatureFile(path).matrix.floats(rows: 0..<2) == FeatureFiles.values)
      } else {
        expectRefusal(.badFeatures, naming: "its dtype is I32") { _ = try FeatureFile(path) }
      }
    }
  }

  /// A byte of the elements that changed is found by who reads them once: where a shard comes in, and in converting.
  @Test(arguments: [0, 3])
  func elementsOfATensorAreHeldAgainstTheirChecksum(offset: Int) throws {
    let scratch = try Scratch()
    var maker = PickleMaker()
    let rows = (6 - offset) / 3
    (maker.storage, maker.offset, maker.shape) = ("FloatStorage", offset, [rows, 3])
    let good = FeatureFiles.torch(maker.pickle(), data: bytes(FeatureFiles.values))
    for place in [0, 2, 5] {
      var changed = FeatureFiles.values
      changed[place] = 7
      let damaged = good.replacing(bytes(FeatureFiles.values), with: bytes(changed))
      try #require(damaged != good)
      let (name, other) = (scratch.file("a.pt"), scratch.file("b.pt"))
      try write(good, to: name)
      try write(damaged, to: other)
      func count(_ path: String) throws -> Int {
        try FeatureFile.rowCount(of: path, as: .torch, dimension: 3, elementType: .float32, readsRows: true)
      }
      #expect(try count(name) == rows)
      expectRefusal(.badFeatures, naming: "its CRC is not") { _ = try count(other) }
      expectRefusal(.badFeatures, naming: "its CRC is not") { try FeatureStream(other).drain { _ in } }
      var given: [UInt8] = []
      try FeatureStream(name).drain { given += $0 }
      #expect(given == Array(bytes(FeatureFiles.values).dropFirst(4 * offset)))
    }
  }

  /// A number that the target does not hold is no infinity; an infinity stays one.
  @Test(arguments: [ElementType.float32, .float16])
  func numbersThatATypeDoesNotHoldAreNotConverted(target: ElementType) throws {
    let scratch = try Scratch()
    let path = scratch.file("a.npy")
    func drained(_ values: [Double]) throws -> [UInt8] {
      try write(FeatureFiles.npy("<f8", values.flatMap { bytes($0.bitPattern) }), to: path)
      var given: [UInt8] = []
      try FeatureStream(path).drain(as: target) { given += $0 }
      return given
    }
    for value in [1e300, -1e39, 0x1.ffffffp127] {
      expectRefusal(.badFeatures, naming: "row 1 holds \(value), which is no \(target)") {
        _ = try drained([1, 2, 3, 4, value, 6])
      }
    }
    let kept = try drained([1, .infinity, -.infinity, .nan, 1e-300, 0])
    #expect(kept.count == 6 * target.byteCount)
    if target == .float32 {
      #expect(kept.prefix(12) == bytes([1, .infinity, -.infinity])[...])
      // The greatest that there is.
      let greatest = try drained([1, 2, 3, 4, Double(Float.greatestFiniteMagnitude), 6])
      #expect(greatest == bytes([1, 2, 3, 4, Float.greatestFiniteMagnitude, 6]))
    }
  }

  @Test func rowsOfEveryFormatAreHadByTheirNumbers() throws {
    let scratch = try Scratch()
    let deflated = FeatureFiles.npz { ($0.method, $0.pack) = (8, { Deflate.stored($0) }) }
    for (name, data) in FeatureFiles.all + [("deflated.npz", deflated)] {
      let path = scratch.file("rows.\(name)")
      try write(data, to: path)
      let type: ElementType = name == "pt" ? .float16 : .float32
      let rows = try FeatureRows(path, array: nil, dimension: 3, elementType: type)
      #expect(rows.rowCount == 2)
      for numbers in [[1], [0, 1], [1, 0, 1], []] {
        let expected = numbers.flatMap { FeatureFiles.values[3 * $0..<3 * $0 + 3] }
        #expect(try rows.matrix(ofRows: numbers).floats(rows: 0..<numbers.count) == expected, "\(name) \(numbers)")
      }
      expectRefusal(.badFeatures) { _ = try FeatureRows(path, array: nil, dimension: 4, elementType: type) }
      expectRefusal(.badFeatures) { _ = try FeatureRows(path, array: nil, dimension: 3, elementType: .int8) }
    }
  }

  /// A row that is sought costs no other one: those before it are not looked at.
  @Test func aRowThatIsSoughtIsReadAlone() throws {
    let scratch = try Scratch()
    // Two rows a page; the first page holds a null.
    var lists = ParquetMaker.floatLists
    let levels = ParquetMaker.levels([0, 1, 1, 0, 1, 1], width: 1) + ParquetMaker.levels([3, 3, 2, 3, 3, 3], width: 2)
    lists.pages[0] = ParquetMaker.Page(levels + bytes([Float](repeating: 1, count: 5)), count: 6)
    let table = scratch.file("a.parquet")
    try write(lists.file(), to: table)
    let rows = try FeatureRows(table, array: nil, dimension: 3, elementType: .float32)
    #expect(try rows.matrix(ofRows: [3, 5]).floats(rows: 0..<2) == [2.25, 2.5, 2.75, 3.75, 4, 4.25])
    expectRefusal(.badFeatures, naming: "row 0 holds a null") { _ = try FeatureFile(table) }
    let vectors = scratch.file("a.fvecs")
    let dimensions: [UInt32] = [3, 9, 3]
    let parts: [[UInt8]] = dimensions.enumerated().map { row, dimension in
      bytes(dimension) + bytes([Float](repeating: Float(row), count: 3))
    }
    try write(Array(parts.joined()), to: vectors)
    let sought = try FeatureRows(vectors, array: nil, dimension: 3, elementType: .float32)
    #expect(try sought.matrix(ofRows: [2]).floats(rows: 0..<1) == [2, 2, 2])
    expectRefusal(.badFeatures, naming: "row 1 says it has 9 elements") { _ = try sought.matrix(ofRows: [1]) }
  }

  /// What would be no file that can be read is not written.
  @Test func aFileThatWouldNotBeReadIsNotWritten() throws {
    func write(_ name: String, array: String = "features", rowCount: Int) throws {
      _ = try FeatureWriter(for: name, name: array, .float32, rowCount: rowCount, dimension: 3)
    }
    for name in ["a.fvecs", "a.parquet"] {
      expectRefusal(.usage, naming: "without rows") { try write(name, rowCount: 0) }
      try write(name, rowCount: 1)
    }
    for name in ["a.npy", "a.npz", "a.safetensors", "a.fbin"] { try write(name, rowCount: 0) }
    expectRefusal(.usage, naming: "no name of a tensor") {
      try write("a.safetensors", array: "__metadata__", rowCount: 1)
    }
    for (array, told) in [("a/../b", "no part '..'"), ("/a", "no slash"), ("a\\b", "no backslash")] {
      expectRefusal(.usage, naming: "'\(array.printable)' is no name of an array") {
        try write("a.npz", array: array, rowCount: 1)
      }
      expectRefusal(.usage, naming: told) { try write("a.npz", array: array, rowCount: 1) }
    }
    let long = String(repeating: "a", count: 196)
    try write("a.npz", array: long, rowCount: 1)
    expectRefusal(.usage, naming: "at most 196 bytes") { try write("a.npz", array: long + "a", rowCount: 1) }
  }

  /// Files that are refused, and what the line must say.
  private static func hostile() -> [(name: String, bytes: [UInt8], says: String)] {
    func pickle(_ change: (inout PickleMaker) -> Void) -> [UInt8] {
      var maker = PickleMaker()
      change(&maker)
      return FeatureFiles.torch(maker.pickle())
    }
    let system: [UInt8] =
      Array("\u{80}\u{2}".unicodeScalars.map { UInt8($0.value) })
      + Array("cos\nsystem\n(X\u{4}\0\0\0exittR.".utf8)
    let stackGlobal: [UInt8] =
      [0x80, 4, 0x8C, 5] + Array("posix".utf8) + [0x8C, 6] + Array("system".utf8) + [0x93, 0x2E]
    let nested: [UInt8] =
      [0x80, 2] + [UInt8](repeating: 0x29, count: 1) + [UInt8](repeating: 0x85, count: 60_000) + [
        0x2E
      ]
    func tensors(_ header: String) -> [UInt8] { FeatureFiles.safetensors(header) }
    let good = FeatureFiles.torch()
    return [
      ("system.pt", FeatureFiles.torch(system), "would call os.system"),
      ("posix.pt", FeatureFiles.torch(stackGlobal), "would call posix.system"),
      ("nested.pt", FeatureFiles.torch(nested), "on and on"),
      (
        "reduce.pt", FeatureFiles.torch([0x80, 2, 0x8A, 255] + [UInt8](repeating: 9, count: 255)),
        "number of 255 bytes"
      ),
      ("build.pt", FeatureFiles.torch([0x80, 2, 0x62]), "opcode 98"),
      ("ends.pt", FeatureFiles.torch([0x80, 2, 0x58, 255, 255, 255, 255]), "ends early"),
      ("number.pt", FeatureFiles.torch([0x80, 2, 0x4B, 7, 0x2E]), "a number, not one tensor"),
      (
        "huge.pt", pickle { ($0.shape, $0.strides) = ([1 << 40, 1 << 40], [1 << 40, 1]) },
        "impossibly large"
      ),
      ("negative.pt", pickle { $0.shape = [-2, 3] }, "impossibly large"),
      (
        "large.pt", pickle { ($0.shape, $0.strides) = ([1 << 20, 3], [3, 1]) },
        "larger than its storage"
      ),
      ("claims.pt", pickle { $0.count = 1 << 40 }, "not \(1 << 40) elements"),
      ("outside.pt", pickle { $0.offset = 1 << 50 }, "outside its storage"),
      ("before.pt", pickle { $0.offset = -1 }, "outside its storage"),
      ("transposed.pt", pickle { $0.strides = [1, 2] }, "not contiguous"),
      ("flat.pt", pickle { ($0.shape, $0.strides) = ([6], [1]) }, "1 axes"),
      ("long.pt", pickle { $0.storage = "LongStorage" }, "torch.LongStorage"),
      ("path.pt", pickle { $0.key = "../../etc/passwd" }, "named '../../etc/passwd'"),
      ("other.pt", pickle { $0.key = "1" }, "no storage 1"),
      (
        "traversal.pt", FeatureFiles.torch { $0.entries[3].name = "clip/../../x" },
        "named 'clip/../../x'"
      ),
      ("root.pt", FeatureFiles.torch { $0.entries[3].name = "/etc/x" }, "named '/etc/x'"),
      ("bomb.pt", FeatureFiles.torch { $0.method = 8 }, "is compressed"),
      ("secret.pt", FeatureFiles.torch { $0.flags = 1 }, "is encrypted"),
      ("long.pt", FeatureFiles.torch { $0.claimedByteCount = 1 << 31 }, "longer than the file"),
      ("twice.pt", FeatureFiles.torch { $0.entries.append($0.entries[0]) }, "two entries"),
      ("none.pt", FeatureFiles.torch { $0.entries.remove(at: 0) }, "0 entries data.pkl"),
      (
        "big.pt", FeatureFiles.torch { $0.entries[1].data = Array("big".utf8) }, "not little-endian"
      ),
      (
        "many.pt", FeatureFiles.torch { zip in zip.entries += (0..<5000).map { ("x\($0)", []) } },
        "lists 5004 entries"
      ),
      ("old.pt", [0x80, 2, 0x8A, 10] + [UInt8](repeating: 0, count: 40), "save it again"),
      ("html.pt", Array("<html>".utf8), "not a zip archive"),
      ("empty.pt", [], "not a zip archive"),
      ("cut.pt", Array(good.dropLast(5)), "truncated"),
      ("half.pt", Array(good.prefix(good.count / 2)), "truncated"),
      ("short.safetensors", [1, 2], "ends inside its header, after 2 bytes"),
      ("giant.safetensors", [UInt8](repeating: 0xFF, count: 8), "does not begin"),
      ("cut.safetensors", Array(FeatureFiles.safetensors().dropLast()), "[2 x 3] float32 needs"),
      ("longer.safetensors", FeatureFiles.safetensors() + [0], "[2 x 3] float32 needs"),
      ("text.safetensors", tensors("{nothing}"), "not the JSON"),
      (
        "metadata.safetensors", bytes(UInt64(600_000)) + Array("{".utf8),
        "its header has 600000 bytes; tarn reads up to 524280"
      ),
      ("deep.safetensors", tensors(String(repeating: "{\"a\":", count: 9000)), "not the JSON"),
      ("two.safetensors", tensors(#"{"x":{},"y":{}}"#), "lacks"),
      ("none.safetensors", tensors(#"{"__metadata__":{"a":"b"}}"#), "it holds no tensors"),
      (
        "overlap.safetensors",
        tensors(
          #"{"x":{"dtype":"F32","shape":[1,3],"data_offsets":[0,12]},"y":{"dtype":"F32","shape":[1,4],"data_offsets":[8,24]}}"#
        ), "do not fit"
      ),
      ("bare.safetensors", tensors(#"{"x":{"dtype":"F32"}}"#), "lacks"),
      (
        "f8.safetensors", tensors(#"{"x":{"dtype":"F8_E4M3","shape":[2,3],"data_offsets":[0,6]}}"#),
        "its dtype is F8_E4M3"
      ),
      (
        "gap.safetensors", tensors(#"{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]}}"#),
        "do not fit"
      ),
      (
        "huge.safetensors",
        tensors(#"{"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#),
        "impossibly large"
      ),
      ("huge.fbin", FeatureFiles.fbin(rows: .max, dimension: .max), "impossibly large"),
      ("more.fbin", FeatureFiles.fbin(rows: 3), "[3 x 3] float32 needs 44"),
      ("zero.fbin", FeatureFiles.fbin(dimension: 0), "no elements"),
      ("cut.fbin", [1, 0, 0, 0], "ends inside its header, after 4 bytes"),
      ("uneven.fvecs", FeatureFiles.fvecs(second: 4), "row 1 says it has 4 elements"),
      ("cut.fvecs", Array(FeatureFiles.fvecs().dropLast()), "no whole rows"),
      ("zero.fvecs", [0, 0, 0, 0], "0 elements"),
    ]
  }

  @Test func whatIsNotOneMatrixIsRefusedWithItsCause() throws {
    let scratch = try Scratch()
    for (name, data, says) in Self.hostile() {
      let path = scratch.file(name)
      try write(data, to: path)
      let error = try #require(throws: TarnError.self, "\(name)") { _ = try FeatureFile(path) }
      #expect(error.code == .badFeatures, "\(name)")
      #expect(
        error.message.hasPrefix(path) && error.message.contains(says), "\(name): \(error.message)")
      #expect(!error.message.contains("\n"))
    }
  }

  /// Headers of `length` bytes, and of texts with brackets in them: whoever fetches
  /// a file and whoever opens it take the same ones.
  @Test(arguments: [300, 5_000, 70_000, 524_280, 524_281, 600_000])
  func aLargeHeaderIsReadByAllOrByNone(length: Int) throws {
    let scratch = try Scratch()
    let tensor = #","x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#
    let start = #"{"__metadata__":{"a":"\""#
    for filler in ["x", "[", "{", "]", "\\\\"] {
      let room = length - start.utf8.count - 2 - tensor.utf8.count
      var text = start + String(repeating: filler, count: room / filler.utf8.count) + #""}"# + tensor
      text += String(repeating: " ", count: length - text.utf8.count)
      let data = FeatureFiles.safetensors(text)
      let path = scratch.file("large.safetensors")
      try write(data, to: path)
      let head = FeatureHead.parse(
        Array(data.prefix(FeatureHead.maximumByteCount)), of: .safetensors, byteCount: data.count)
      if length <= 524_280 {
        #expect(try FeatureFile(path).matrix.floats(rows: 0..<2) == FeatureFiles.values)
        guard case .head(let head) = head else {
          Issue.record("\(filler): \(head)")
          continue
        }
        #expect(head.rowCount == 2 && head.fileByteCount == data.count)
      } else {
        let cause = "its header has \(length) bytes; tarn reads up to 524280"
        #expect(head == .malformed(cause))
        expectRefusal(.badFeatures, naming: cause) { _ = try FeatureFile(path) }
      }
    }
  }

  /// Python 2 wrote long integers with an L; NumPy reads them so far as the versions
  /// of the format that it could write.
  @Test(arguments: [1, 2, 3])
  func aShapeOfPythonTwoIsReadAsNumPyReadsIt(version: UInt8) throws {
    let scratch = try Scratch()
    for (shape, isGood) in [
      ("(2L, 3L)", true), ("(2, 3L)", true), ("(2L, 3)", true), ("(2l, 3)", false), ("(2LL, 3)", false),
      ("(L, 3)", false), ("(2L3)", false),
    ] {
      let text = "{'descr': '<f4', 'fortran_order': False, 'shape': \(shape), }\n"
      let length = version == 1 ? bytes(UInt16(text.utf8.count)) : bytes(UInt32(text.utf8.count))
      let path = scratch.file("long.npy")
      try write(
        [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, version, 0] + length + Array(text.utf8) + bytes(FeatureFiles.values),
        to: path)
      if isGood, version < 3 {
        #expect(try FeatureFile(path).matrix.floats(rows: 0..<2) == FeatureFiles.values)
      } else {
        expectRefusal(.badFeatures) { _ = try FeatureFile(path) }
      }
    }
  }

  /// Numbers as large as a format can write them, in every place: an answer or an
  /// error, and no arithmetic that ends the process.
  @Test func numbersAtTheirLimitsAreRefused() throws {
    let scratch = try Scratch()
    let numbers = [0, 1, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 48, 1 << 62, Int.max]
    func refuse(_ name: String, _ data: [UInt8], _ format: FeatureFormat) throws {
      let path = scratch.file(name)
      try write(data, to: path)
      _ = FeatureHead.parse(data, of: format, byteCount: data.count)
      _ = FeatureHead.parse(data, of: format, byteCount: Int.max)
      expectRefusal(.badFeatures) { _ = try FeatureFile(path) }
    }
    for first in numbers {
      for second in numbers {
        for end in numbers + [first &* second &* 4] {
          let header = #"{"x":{"dtype":"F32","shape":[\#(first),\#(second)],"data_offsets":[0,\#(end)]}}"#
          // Nothing of nothing is a good matrix.
          if first == 0, second > 0, second <= 1 << 20, end == 0 { continue }
          try refuse("a.safetensors", FeatureFiles.safetensors(header, data: [1, 2, 3]), .safetensors)
        }
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(first), \(second)), }\n"
        try refuse(
          "a.npy",
          [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0] + bytes(UInt16(text.utf8.count)) + Array(text.utf8) + [1],
          .npy)
        let (rows, dimension) = (UInt32(clamping: first), UInt32(clamping: second))
        try refuse("a.fbin", bytes(rows) + bytes(dimension) + [1, 2, 3], .fbin)
        try refuse("a.fvecs", bytes(rows) + bytes(dimension) + [1, 2, 3], .fvecs)
        var maker = PickleMaker()
        (maker.shape, maker.strides, maker.offset) = ([first, second], [second, 1], first)
        maker.count = second
        // No rows of a storage of one half.
        if (first, second) == (0, 1) { continue }
        try refuse("a.pt", FeatureFiles.torch(maker.pickle(), data: [1, 2]), .torch)
      }
    }
  }
}
