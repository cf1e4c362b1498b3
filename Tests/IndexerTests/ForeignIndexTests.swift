import Base
import Foundation
import Indexer
import TestSupport
import Testing

/// Answers of tarn-adopt, taken and refused: no number of theirs is believed.
@Suite struct ForeignIndexTests {
  private static let (dimension, nlist) = (4, 3)

  private static let quantizer = try? ScalarQuantizer(
    codec: .sq8, dimension: dimension, minima: [0, -1, 0.5, 2], widths: [1, 2, 0, 3])

  /// An index of two lists with rows, as FAISS lays it out: ids of the first are out of order.
  private static let ids: [[Int64]] = [[7, 3, 5], [], [4]]

  private struct Made {
    let file: InputFile
    let answer: String
    let bytes: [UInt8]
    let trained: TrainedIndex
  }

  private static func code(of id: Int64) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: id) &* 10 &+ $0 } }

  private static func made(in directory: TemporaryDirectory, ids: [[Int64]] = ids) throws -> Made {
    let trained = try TrainedIndex(
      centroids: (0..<(nlist * dimension)).map { Float($0) }, quantizer: try #require(quantizer), nprobe: 2)
    // The head of a trained index, with bytes of lists behind it, is long enough to be one.
    let path = directory.path + "/foreign.index"
    _ = try TrainedIndexFile.write(trained, to: path, temporaryPath: path + ".tmp")
    var content = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    var lists: [(Int, Int)] = []
    for list in ids {
      lists.append((content.count, list.count))
      for id in list { content += code(of: id) }
      for id in list { content += littleEndian(id) }
    }
    try Data(content).write(to: URL(fileURLWithPath: path))
    var answer = Array("tarnadp1".utf8)
    for number in [dimension, nlist, ids.joined().count, 2] { answer += littleEndian(Int64(number)) }
    answer += littleEndian(Int32(0)) + littleEndian(Int32(0)) + littleEndian(Float(0).bitPattern)
    answer += littleEndian(UInt32(0)) + littleEndian(UInt32(1))
    answer += littleEndian(Int64(2 * dimension))
    for value in trained.quantizer.minima + trained.quantizer.widths { answer += littleEndian(value.bitPattern) }
    answer += littleEndian(Int64(nlist * dimension))
    for value in trained.centroids { answer += littleEndian(value.bitPattern) }
    for (offset, size) in lists { answer += littleEndian(Int64(offset)) + littleEndian(Int64(size)) }
    answer += Array("tarnend1".utf8)
    return Made(file: try InputFile(path: path), answer: directory.path + "/answer", bytes: answer, trained: trained)
  }

  private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  private static func read(_ bytes: [UInt8], _ made: Made) throws -> ForeignIndex {
    try Data(bytes).write(to: URL(fileURLWithPath: made.answer))
    return try ForeignIndex(answer: made.answer, about: made.file)
  }

  @Test func listsAreWrittenInTheOrderOfTheirIDs() throws {
    let directory = try TemporaryDirectory()
    let made = try Self.made(in: directory)
    let index = try Self.read(made.bytes, made)
    #expect(index.trained == made.trained)
    #expect(try index.ids {} == 3...7)
    try index.require(made.trained, named: "t")
    let path = directory.path + "/output.faiss"
    try index.write(under: made.trained, to: path) { _ in }
    let shard = try OutputShardFile(path: path)
    for (list, ids) in Self.ids.enumerated() {
      let contents = try shard.contents(ofList: list)
      #expect(contents.ids == ids.sorted())
      #expect(contents.codes == ids.sorted().flatMap(Self.code))
    }
    #expect(try OutputShardFile.read(path, trained: made.trained, idsIn: [3..<8]).rowCount == 4)
  }

  /// FAISS counts rows that are not numbers, and files them nowhere.
  @Test func rowsThatAreInNoListAreLeftOut() throws {
    let directory = try TemporaryDirectory()
    let made = try Self.made(in: directory)
    #expect(try Self.read(made.bytes, made).unfiledRowCount == 0)
    func counting(_ count: Int, _ made: Made) -> [UInt8] {
      // Behind the magic, the dimension and nlist.
      var bytes = made.bytes
      bytes.replaceSubrange(24..<32, with: Self.littleEndian(Int64(count)))
      return bytes
    }
    let index = try Self.read(counting(6, made), made)
    #expect(index.rowCount == 4 && index.unfiledRowCount == 2)
    #expect(try index.ids {} == 3...7)
    let path = directory.path + "/output.faiss"
    try index.write(under: made.trained, to: path) { _ in }
    #expect(try OutputShardFile.read(path, trained: made.trained, idsIn: [3..<8]).rowCount == 4)
    #expect(throws: TarnError.self) { try Self.read(counting(3, made), made) }
    let none = try Self.made(in: directory, ids: [[], [], []])
    let empty = try Self.read(counting(2, none), none)
    let error = #expect(throws: TarnError.self) { try empty.ids {} }
    #expect(error?.message.contains("2 that it counts are in none of its lists") == true)
  }

  /// Every byte of an answer, changed in every bit and to a great number; every length.
  @Test func noAnswerIsBelieved() throws {
    let directory = try TemporaryDirectory()
    let made = try Self.made(in: directory)
    var (taken, refused) = (0, 0)
    func look(_ bytes: [UInt8]) throws {
      do {
        let index = try Self.read(bytes, made)
        // What is taken may be wrong, and everything it says is in the file.
        _ = try? index.ids {}
        _ = try? index.write(under: index.trained, to: directory.path + "/output.faiss") { _ in }
        taken += 1
      } catch let error as TarnError {
        #expect(error.code == .engine)
        #expect(!error.message.contains("\n"))
        refused += 1
      }
    }
    for place in made.bytes.indices {
      for change: UInt8 in [0x01, 0x80, 0xFF] {
        var bytes = made.bytes
        bytes[place] ^= change
        try look(bytes)
      }
    }
    for place in stride(from: 8, to: made.bytes.count - 8, by: 4) {
      for value: UInt64 in [0, .max, 1 << 62, 1 << 40, 1 << 31] {
        var bytes = made.bytes
        bytes.replaceSubrange(place..<(place + 8), with: Self.littleEndian(value))
        try look(bytes)
      }
    }
    for length in 0..<made.bytes.count {
      #expect(throws: TarnError.self) { try Self.read(Array(made.bytes.prefix(length)), made) }
    }
    #expect(throws: TarnError.self) { try Self.read(made.bytes + [0], made) }
    #expect(taken > 0 && refused > 400, "\(taken) taken, \(refused) refused")
  }

  /// What the helper refuses in a file is the file's fault, told with what helps.
  @Test(arguments: [
    ("cut ", "was cut off"), ("values a centroid that is not finite", "has a centroid that is not finite"),
    ("shape its lists hold more rows than it counts", "its lists hold more rows than it counts"),
  ])
  func aDamagedFileIsNoFailureOfTheHelper(complaint: String, words: String) {
    let error = ForeignIndex.failure(status: 2, complaint: complaint, of: "/made/x.index")
    #expect(error.code == .integrity)
    #expect(error.message.contains("/made/x.index") && error.message.contains(words), "\(error.message)")
    #expect(error.hint?.contains("get the file again") == true)
  }

  @Test(
    arguments: [
      ([[1, 2], [2], []], "twice"), ([[-1], [], []], "-1"), ([[0], [1 << 50], []], "further apart"),
      ([[], [], []], "no rows"),
    ] as [([[Int64]], String)])
  func idsThatNoVersionHasAreRefused(ids: [[Int64]], word: String) throws {
    let directory = try TemporaryDirectory()
    let made = try Self.made(in: directory, ids: ids)
    let index = try Self.read(made.bytes, made)
    let error = #expect(throws: TarnError.self) { try index.ids {} }
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
  }

  /// Ids that are too far apart for a bit each are compared one by one.
  @Test func idsFarApartAreHeldAgainstEachOther() throws {
    let directory = try TemporaryDirectory()
    let far = try Self.made(in: directory, ids: [[1 << 40], [], [6]])
    #expect(try Self.read(far.bytes, far).ids {} == 6...(1 << 40))
    let twice = try Self.made(in: directory, ids: [[1 << 40], [6], [6]])
    #expect(throws: TarnError.self) { try Self.read(twice.bytes, twice).ids {} }
  }

  @Test func whatAnIndexSaysOfItselfIsHeldAgainstItsFile() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/head.index"
    let made = try Self.made(in: directory)
    let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: made.file.path)))
    func look(_ bytes: [UInt8]) throws -> TarnError? {
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      do {
        try ForeignHead.check(InputFile(path: path))
        return nil
      } catch let error as TarnError {
        return error
      }
    }
    #expect(try look(whole) == nil)
    #expect(try look(Array("IwPQ".utf8) + whole.dropFirst(4))?.message.contains("product quantizer") == true)
    #expect(try look(Array("<htm".utf8) + whole.dropFirst(4))?.code == .integrity)
    #expect(try look([])?.code == .integrity)
    // 15 GB of centroids, of rows and of lists that are not there.
    for (offset, value) in [(37, 1 << 23), (37, 1 << 60), (8, 1 << 40), (37, 0)] {
      var bytes = whole
      bytes.replaceSubrange(offset..<(offset + 8), with: Self.littleEndian(Int64(value)))
      #expect(try look(bytes)?.code == .integrity, "\(value) at \(offset)")
    }
    for place in 0..<100 {
      for value: UInt8 in [0, 1, 0x7F, 0xFF] {
        var bytes = whole
        bytes[place] = value
        _ = try look(bytes)
      }
    }
  }
}
