// Archives of arrays and columns of lists as feature files: however an array is stored, it is
// the same rows, and what lies is refused before memory is taken for it.

import Base
import Features
import Foundation
import Synchronization
import Testing
import TestSupport

/// Ways to write the same archive.
private let ways: [(String, @Sendable (inout ZipMaker) -> Void)] = [
  ("stored", { _ in }), ("zip64", { $0.isZip64 = true }), ("descriptors", { $0.hasDescriptors = true }),
  ("blocks", { ($0.method, $0.pack) = (8, { Deflate.stored($0, block: 37) }) }),
  ("fixed codes", { ($0.method, $0.pack) = (8, { Deflate.fixed($0) }) }),
  ("everything", { ($0.method, $0.pack, $0.isZip64, $0.hasDescriptors) = (8, { Deflate.stored($0) }, true, true) }),
]

@Suite struct NpzTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func file(_ name: String, _ data: [UInt8]) throws -> String {
    let path = scratch.file(name)
    try write(data, to: path)
    return path
  }

  @Test func everyWayToWriteAnArchiveGivesTheSameRows() throws {
    var random = SplitMix64(seed: 4)
    let rows = (0..<200).map { _ in Float(Int(random.next() >> 40) - (1 << 23)) / Float(1 << 22) }
    let npy = FeatureFiles.npy(shape: "(50, 4)", bytes(rows))
    for (way, change) in ways {
      let path = try file(
        "a.npz",
        FeatureFiles.npz([
          ("l14_img", npy), ("text", FeatureFiles.npy()), ("n", FeatureFiles.npy("<i8", shape: "(3,)")),
        ]) {
          change(&$0)
        })
      let opened = try FeatureFile(path, array: "l14_img")
      #expect(opened.matrix.floats(rows: 0..<50) == rows, "\(way)")
      #expect(try FeatureFile(path, array: "text").matrix.floats(rows: 0..<2) == FeatureFiles.values, "\(way)")
      #expect(
        try FeatureFile.rowCount(
          of: path, as: .npz, array: "text", dimension: 3, elementType: .float32, readsRows: true) == 2)
    }
  }

  @Test func withoutANameTheOnlyMatrixIsTaken() throws {
    let ids = FeatureFiles.npy("<u4", shape: "(2,)", [1, 0, 0, 0, 2, 0, 0, 0])
    let one = try file("one.npz", FeatureFiles.npz([("dedup", ids), ("emb", FeatureFiles.npy())]))
    #expect(try FeatureFile(one).matrix.floats(rows: 0..<2) == FeatureFiles.values)
    let two = try file("two.npz", FeatureFiles.npz([("b", FeatureFiles.npy()), ("a", FeatureFiles.npy()), ("n", ids)]))
    let none = try #require(throws: TarnError.self) { _ = try FeatureFile(two) }
    #expect(none.message == "\(two): it has 3 arrays, and which of them holds the features is not said")
    #expect(none.hint == "say --array NAME: it has b, a, n")
    let other = try #require(throws: TarnError.self) { _ = try FeatureFile(two, array: "c") }
    #expect(other.message == "\(two): it has no array 'c'" && other.hint == "it has b, a, n")
    let flat = try #require(throws: TarnError.self) { _ = try FeatureFile(two, array: "n") }
    #expect(flat.message.hasPrefix("\(two): array 'n': its dtype is '<u4'"))
    let npy = try file("a.npy", FeatureFiles.npy())
    let plain = try #require(throws: TarnError.self) { _ = try FeatureFile(npy, array: "emb") }
    #expect(plain.message.hasSuffix("a .npy file has one matrix and no arrays with names"))
    #expect(FeatureFormat.allCases.filter(\.holdsArrays) == [.npz, .safetensors, .parquet])
  }

  /// Features that cannot be read are not passed over, and the labels beside them taken in their place.
  @Test func anotherArrayIsNotTakenForFeaturesThatCannotBeRead() throws {
    let npy = FeatureFiles.npy()
    let label = (name: "label", data: FeatureFiles.npy("|u1", shape: "(2, 3)", [1, 0, 0, 0, 1, 0]))
    let unreadable: [(String, [UInt8])] = [
      ("fortran", npy.replacing(Array("False".utf8), with: Array("True ".utf8))), ("big", FeatureFiles.npy(">f4")),
      ("cut", Array(npy.prefix(9))), ("short", npy.dropLast(4)), ("complex", FeatureFiles.npy("<c8")),
      ("garbage", Array("junk".utf8)),
    ]
    for (name, array) in unreadable {
      let path = try file("\(name).npz", FeatureFiles.npz([("emb", array), label]))
      let error = try #require(throws: TarnError.self, "\(name)") { _ = try FeatureFile(path) }
      #expect(error.message.hasSuffix("it has 2 arrays, and which of them holds the features is not said"), "\(name)")
      #expect(error.hint == "say --array NAME: it has emb, label")
      #expect(try FeatureFile(path, array: "label").elementType == .uint8)
    }
    let secret = try file("secret.npz", FeatureFiles.npz([("emb", npy), label]) { $0.flags = 1 })
    expectRefusal(.badFeatures, naming: "it has 2 arrays") { _ = try FeatureFile(secret) }
    // The one that is left tells what is wrong with it.
    let ids = FeatureFiles.npy("<i8", shape: "(2,)", [UInt8](repeating: 0, count: 16))
    let alone = try file("alone.npz", FeatureFiles.npz([("ids", ids), ("emb", unreadable[0].1)]))
    expectRefusal(.badFeatures, naming: "array 'emb': it is in Fortran order") { _ = try FeatureFile(alone) }
  }

  /// What is no matrix of numbers is passed over, however many of it there are.
  @Test func whatIsNoMatrixOfNumbersIsPassedOver() throws {
    let records = FeatureFiles.npy().replacing(Array("'<f4'".utf8), with: Array("[('a', '<f4')]".utf8))
    let path = try file(
      "a.npz",
      FeatureFiles.npz([
        ("names", FeatureFiles.npy("<U5", shape: "(2, 1)", [])),
        ("objects", FeatureFiles.npy("|O", shape: "(2, 1)", [])),
        ("mask", FeatureFiles.npy("|b1", shape: "(2, 1)", [1, 1])), ("emb", FeatureFiles.npy()),
        ("when", FeatureFiles.npy("<M8[ns]", shape: "(2, 1)", [])), ("cube", FeatureFiles.npy(shape: "(1, 2, 3)")),
        ("scalar", FeatureFiles.npy(shape: "()", [])), ("records", records),
      ]))
    #expect(try FeatureFile(path).matrix.floats(rows: 0..<2) == FeatureFiles.values)
  }

  /// Which array is the only matrix is not decided by what could not be read for now.
  @Test func aReadThatFailsChoosesNoArray() throws {
    let ids = FeatureFiles.npy("<u4", shape: "(2,)", [1, 0, 0, 0, 2, 0, 0, 0])
    let archive = FeatureFiles.npz([("emb", FeatureFiles.npy()), ("dedup", ids)])
    var failing = 0
    while failing < 1000 {
      let count = Mutex(0)
      let failed = failing
      let file = InputFile(named: "a.npz", byteCount: archive.count) { output, offset in
        let number = count.withLock { count in
          defer { count += 1 }
          return count
        }
        guard number != failed else { throw TarnError(.temporary, "not now") }
        output.copyBytes(from: archive[offset..<(offset + output.count)])
      }
      do {
        #expect(try FeatureFile.head(of: file, as: .npz, array: nil, dimension: nil).rowCount == 2)
        break
      } catch let error as TarnError {
        #expect(error.code == .temporary, "read \(failing): \(error)")
      }
      failing += 1
    }
    #expect((4..<1000).contains(failing))
  }

  @Test func onlyTheColumnThatIsAskedForMustBeReadable() throws {
    let path = try file("a.parquet", FeatureFiles.parquet())
    #expect(try FeatureFile(path, array: "emb", dimension: 3, elementType: .float32).rowCount == 2)
    #expect(try FeatureFile.kind(of: path, as: .parquet) == (3, .float32))
    for (name, says) in [("url", "there is no such column"), ("", "there is no such column")] {
      let error = try #require(throws: TarnError.self) { _ = try FeatureFile(path, array: name) }
      #expect(error.code == .badFeatures && error.message.contains(says), "\(error)")
    }
    let text = try file("text.parquet", ParquetMaker.texts.file())
    expectRefusal(.badFeatures, naming: "no column of lists of floats") { _ = try FeatureFile(text) }
    var null = ParquetMaker.lists(FeatureFiles.values, dimension: 3)
    null.rowCount = 3
    let lying = try file("lying.parquet", null.file())
    expectRefusal(.badFeatures) { _ = try FeatureFile(lying) }
  }

  /// A column of doubles is what an `.npy` file of them is.
  @Test func doublesOfAColumnAreRoundedAsThoseOfAFile() throws {
    let doubles: [Double] = [0.1, 1 + 0x1p-24, 1 + 0x1p-24 + 0x1p-52, 1e300, -0.0, .pi]
    let values = doubles.flatMap { bytes($0.bitPattern) }
    let body =
      ParquetMaker.levels([0, 1, 1, 0, 1, 1], width: 1) + ParquetMaker.levels([Int](repeating: 1, count: 6), width: 1)
      + values
    let maker = ParquetMaker(
      [ParquetMaker.element("emb", type: 5, repetition: 2)], type: 5, rowCount: 2, valueCount: 6,
      pages: [ParquetMaker.Page(body, count: 6)])
    let column = try FeatureFile(file("a.parquet", maker.file()))
    let plain = try FeatureFile(file("a.npy", FeatureFiles.npy("<f8", values)))
    #expect(column.elementType == .float64)
    #expect(
      column.matrix.floats(rows: 0..<2).map(\.bitPattern) == plain.matrix.floats(rows: 0..<2).map(\.bitPattern))
  }

  private static func hostile() -> [(name: String, bytes: [UInt8], says: String)] {
    let npy = FeatureFiles.npy()
    func deflated(_ change: @escaping (inout ZipMaker) -> Void) -> [UInt8] {
      FeatureFiles.npz { zip in
        (zip.method, zip.pack) = (8, { Deflate.fixed($0) })
        change(&zip)
      }
    }
    func overlapping() -> [UInt8] {
      // The second entry's record is made to point to the first.
      var file = FeatureFiles.npz([("emb", npy), ("emc", npy)]) { $0.padding = 0 }
      let second = 30 + 7 + npy.count
      let directory = 2 * second
      let record = directory + 46 + 7
      file.replaceSubrange(record + 42..<record + 46, with: bytes(UInt32(0)))
      return file
    }
    return [
      ("empty", [], "not a zip archive"), ("html", Array("<html>".utf8), "not a zip archive"),
      ("prefix", Array("junk".utf8) + FeatureFiles.npz(), "not a zip archive"),
      ("shifted", [0x50, 0x4B, 3, 4] + FeatureFiles.npz(), "its zip directory is damaged"),
      ("suffix", FeatureFiles.npz() + [0], "no end"), ("cut", FeatureFiles.npz().dropLast(3), "no end"),
      ("none", FeatureFiles.npz([]), "not a zip archive"),
      ("text", FeatureFiles.npz { $0.entries = [("a.txt", [1])] }, "0 arrays"),
      ("twice", FeatureFiles.npz([("emb", npy), ("emb", npy)]), "two entries 'emb.npy'"),
      ("overlap", overlapping(), "not where its directory says"),
      ("secret", FeatureFiles.npz { $0.flags = 1 }, "array 'emb': entry 'emb.npy' of its zip archive is encrypted"),
      ("bzip2", FeatureFiles.npz { $0.method = 12 }, "compressed with bzip2"),
      ("lzma", FeatureFiles.npz { $0.method = 14 }, "compressed with lzma"),
      ("zstd", FeatureFiles.npz { $0.method = 93 }, "compressed with zstd"),
      ("long", FeatureFiles.npz { $0.claimedByteCount = 1 << 31 }, "longer than the file"),
      ("sizes", FeatureFiles.npz { $0.claimedUnpacked = 7 }, "has two sizes"),
      ("short", FeatureFiles.npz([("emb", npy.dropLast(4))]), "needs"),
      ("longer", FeatureFiles.npz([("emb", npy + [0])]), "needs"),
      ("head", FeatureFiles.npz([("emb", Array(npy.prefix(9)))]), "ends inside its header"),
      (
        "fortran", FeatureFiles.npz([("emb", npy.replacing(Array("False".utf8), with: Array("True ".utf8)))]),
        "Fortran order"
      ),
      ("bomb", deflated { $0.claimedUnpacked = 4_000_000_000 }, "cannot be 4000000000 bytes"),
      ("damaged", deflated { $0.spoiledCRC = 1 }, "its CRC is not"),
      ("garbage", deflated { $0.pack = { [0xFF] + $0 } }, "packed bytes are damaged"),
      ("more", deflated { $0.pack = { Deflate.fixed($0, runs: 9) } }, "unfolds to more bytes"),
      ("less", deflated { $0.pack = { Deflate.fixed($0.dropLast(4)) } }, "unfolds to fewer bytes"),
      ("open", deflated { $0.pack = { Deflate.fixed($0).dropLast(2) } }, "end too early"),
      ("behind", deflated { $0.pack = { Deflate.fixed($0) + [1, 2] } }, "bytes behind its end"),
      (
        "huge",
        FeatureFiles.npz([("emb", FeatureFiles.npy(shape: "(4611686018427387904, 4)"))]), "impossibly large"
      ),
    ]
  }

  @Test func whatLiesIsRefusedWithItsCause() throws {
    for (name, data, says) in Self.hostile() {
      let path = try file("\(name).npz", data)
      let error = try #require(throws: TarnError.self, "\(name)") { _ = try FeatureFile(path) }
      #expect(error.code == .badFeatures, "\(name)")
      #expect(error.message.hasPrefix(path) && error.message.contains(says), "\(name): \(error.message)")
      #expect(!error.message.contains("\n"))
    }
  }

  /// A look at the head alone takes what only reading finds out, and reading finds it.
  @Test func aDamagedArrayIsFoundWhenItsRowsAreRead() throws {
    for method: UInt16 in [0, 8] {
      let path = try file(
        "a.npz",
        FeatureFiles.npz {
          ($0.method, $0.pack, $0.spoiledCRC) = (method, { method == 8 ? Deflate.stored($0) : $0 }, 1)
        })
      func count(_ readsRows: Bool) throws -> Int {
        try FeatureFile.rowCount(of: path, as: .npz, dimension: 3, elementType: .float32, readsRows: readsRows)
      }
      #expect(try count(false) == 2)
      expectRefusal(.badFeatures, naming: "its CRC is not") { _ = try count(true) }
    }
  }

  /// Rows larger than what is kept in memory are the same rows, and leave no file.
  @Test func manyRowsAreUnpackedIntoAFileWithoutAName() throws {
    // A few rows of many elements: 68 MiB.
    let (rows, dimension) = (17, 1 << 20)
    var data: [UInt8] = []
    for row in 0..<rows {
      data += bytes(UInt32(dimension))
      data += [UInt8](repeating: UInt8(row % 7), count: dimension * 4)
    }
    let path = try file("a.fvecs", data)
    let directory = scratch.file("room")
    DecodedRows.use(directory, keeping: DiskReserve())
    let opened = try FeatureFile(path)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == [])
    func expectRows() {
      for row in 0..<rows {
        let word = UInt32(row % 7) * 0x0101_0101
        let address = UInt(bitPattern: opened.matrix.address(ofRow: row))
        let elements = UnsafeRawPointer(bitPattern: address)
        for place in [0, 1, 4095, dimension - 1] {
          #expect(elements?.loadUnaligned(fromByteOffset: 4 * place, as: UInt32.self) == word, "\(row)")
        }
      }
    }
    expectRows()
    // Where there is no room anywhere, it is said what needs it.
    DecodedRows.use(directory, keeping: DiskReserve(keptFree: Int.max / 4))
    let error = try #require(throws: TarnError.self) { _ = try FeatureFile(path) }
    #expect(error.code == .diskFull && error.message.contains("what \(path) unpacks to"), "\(error)")
    // Where there can be no directory, others are tried.
    DecodedRows.use("/proc/none", keeping: DiskReserve())
    #expect(try FeatureFile(path).rowCount == rows)
  }
}
