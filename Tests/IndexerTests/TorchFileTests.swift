// Files that PyTorch itself wrote, see Tests/Fixtures/torch.

import Base
import Features
import Foundation
import Testing

struct TorchFileTests {
  /// `torch.arange(24).reshape(6, 4) / 8 - 1`.
  private static let values = (0..<24).map { Float($0) / 8 - 1 }

  private func path(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Fixtures/torch/\(name).pt")
      .standardized.path
  }

  @Test(arguments: [
    ("f32", ElementType.float32, 0..<6), ("f16", .float16, 0..<6), ("slice_rows", .float32, 2..<5),
    ("proto5", .float32, 0..<6), ("nocrc", .float32, 0..<6), ("bf16", .bfloat16, 0..<6),
  ])
  func aContiguousMatrixIsReadAsItIs(name: String, elementType: ElementType, rows: Range<Int>) throws {
    let file = try FeatureFile(path(name), dimension: 4, elementType: elementType)
    #expect(file.rowCount == rows.count)
    let expected = Array(Self.values[(4 * rows.lowerBound)..<(4 * rows.upperBound)])
    #expect(file.matrix.floats(rows: 0..<rows.count) == expected)
  }

  @Test(arguments: [
    ("transposed", "not contiguous"), ("step", "not contiguous"),
    ("param", "torch._utils._rebuild_parameter"), ("state", "more than one plain tensor"),
    ("legacy", "PyTorch 1.6"),
  ])
  func whatIsNotOneIsRefusedWithItsCause(name: String, says: String) throws {
    let error = try #require(throws: TarnError.self) { _ = try FeatureFile(path(name)) }
    #expect(error.code == .badFeatures && error.message.contains(says), "\(error.message)")
  }
}
