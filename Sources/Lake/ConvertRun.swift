// `convert`: the rows of one feature file in another form, read and written once, front to
// back. It needs no lake, and writes into none.

internal import Base
internal import Features
internal import Foundation
internal import Glibc

/// Converts a feature file.
package struct ConvertRun {
  private let source: FeatureStream
  private let target: String
  private let elementType: ElementType
  private let name: String
  private let cancellation: Cancellation

  /// What was written.
  package struct Summary: Sendable {
    package let rowCount: Int
    package let dimension: Int
    package let elementType: ElementType
    package let byteCount: Int
    package let digest: ContentDigest
  }

  /// Opens the file and looks at where the other is to be.
  ///
  /// - Parameters:
  ///   - source: A feature file.
  ///   - target: The file to write; its name says the form.
  ///   - array: Which of the source's arrays, where those have names; nil for the only one. The
  ///     array that is written, where arrays have names, is called so, or `features`.
  ///   - elementType: What elements become, float16 or float32; nil for what they are.
  ///   - cancellation: Asked between pieces.
  /// - Throws: ``TarnError`` `.usage` for a form that does not hold them or is not
  ///   written, `.conflict` where there is something of that name, `.badFeatures`.
  package init(
    _ source: String, to target: String, array: String?, as elementType: ElementType?, cancellation: Cancellation
  ) throws {
    try OutputPlace.check(target, besides: nil)
    guard !FileManager.default.fileExists(atPath: target) else {
      throw TarnError(.conflict, "\(target) exists", hint: "name another file, or remove it")
    }
    // Where only one of the two has names for what it holds, the name is that one's.
    let isTargets =
      !FeatureFormat(ofFile: source).holdsArrays && FeatureFormat(extensionOf: target)?.holdsArrays ?? false
    self.source = try FeatureStream(source, array: isTargets ? nil : array)
    (self.target, name) = (target, array ?? "features")
    self.elementType = elementType ?? self.source.elementType
    self.cancellation = cancellation
    _ = try writer()
  }

  private func writer() throws -> FeatureWriter {
    try FeatureWriter(
      for: target, name: name, elementType, rowCount: source.rowCount, dimension: source.dimension)
  }

  /// Writes the file.
  ///
  /// - Parameter report: Told how many rows are written, of how many.
  /// - Returns: What it is.
  /// - Throws: ``TarnError`` `.badFeatures` for a source that is damaged, `.diskFull`,
  ///   `.interrupted`; nothing is left then.
  package func run(_ report: (Int, Int) -> Void) throws -> Summary {
    cancellation.listen()
    let rowByteCount = source.dimension * elementType.byteCount
    let verdict = DiskReserve().verdict(
      on: target, taking: source.rowCount * rowByteCount, of: try FileSystem(of: target.parentPath))
    if case .refused(let error) = verdict { throw error }
    var writer = try writer()
    let place = WorkingPlace(for: target)
    var file = try DurableFile(creating: place.path, mode: .streamed)
    place.hold()
    try writer.begin { try file.write(RawSpan(_unsafeBytes: $0)) }
    var rowCount = 0
    try source.drain(as: elementType) { rows in
      try cancellation.check()
      try writer.add(rows) { try file.write(RawSpan(_unsafeBytes: $0)) }
      rowCount += rows.count / rowByteCount
      report(rowCount, source.rowCount)
    }
    try writer.finish { try file.write(RawSpan(_unsafeBytes: $0)) }
    if let amendment = writer.amendment {
      try file.amend(amendment.bytes, at: amendment.offset)
    }
    let byteCount = file.byteCount
    try file.finish(asNew: target)
    return Summary(
      rowCount: rowCount, dimension: source.dimension, elementType: elementType, byteCount: byteCount,
      digest: try Disk.digest(of: target))
  }
}
