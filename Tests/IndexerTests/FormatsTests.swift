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
      ("double.pt", pickle { $0.storage = "DoubleStorage" }, "torch.DoubleStorage"),
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
      ("deep.safetensors", tensors(String(repeating: "{\"a\":", count: 9000)), "not the JSON"),
      ("two.safetensors", tensors(#"{"x":{},"y":{}}"#), "2 tensors"),
      ("bare.safetensors", tensors(#"{"x":{"dtype":"F32"}}"#), "lacks"),
      (
        "bf16.safetensors", tensors(#"{"x":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}"#),
        "BF16"
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
}
