// A directory of its own for each test, gone afterwards.

import Base
package import Catalog
internal import Foundation

/// A directory that is removed when the last reference goes.
package final class TemporaryDirectory: Sendable {
  package let path: String

  /// Makes one.
  ///
  /// - Parameter inMemory: In memory where the system offers that: for what is about the order of durable steps, of
  ///   which there are thousands, and not about the disk.
  /// - Throws: When it cannot be made.
  package init(inMemory: Bool = false) throws {
    let memory = "/dev/shm"
    let parent =
      inMemory && FileManager.default.isWritableFile(atPath: memory)
      ? URL(fileURLWithPath: memory) : FileManager.default.temporaryDirectory
    let url = parent.appendingPathComponent("tarn-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// A lake in a temporary directory, open for writing.
package final class TemporaryLake: Sendable {
  private let directory: TemporaryDirectory
  package let catalog: LakeCatalog

  package var root: String { directory.path + "/lake" }

  /// Makes one.
  ///
  /// - Parameter inMemory: As of ``TemporaryDirectory/init(inMemory:)``.
  /// - Throws: `TarnError`.
  package init(inMemory: Bool = false) throws {
    directory = try TemporaryDirectory(inMemory: inMemory)
    catalog = try LakeCatalog.create(root: directory.path + "/lake", shards: "shards", artifacts: "artifacts")
  }

  /// What an SQL query answers: the first column of each row, as text.
  package func rows(_ sql: String) throws -> [String] {
    var found: [String] = []
    try QueryConsole(layout: catalog.layout, timeLimit: nil).run(sql) { _, values in
      switch values?.first {
      case .text(let text): found.append(text)
      case .integer(let number): found.append(String(number))
      case .some(let other): found.append("\(other)")
      case nil: break
      }
    }
    return found
  }

  /// Registers a source of `count` shards that nobody serves.
  package func addSource(_ name: String, count: Int, expectedByteCount: Int? = nil) throws -> Source {
    try catalog.addSource(
      SourceDefinition(
        name: name, modality: .image, dimension: 4, elementType: .float16, mirrors: ["http://localhost/{ordinal}.npy"],
        shards: (0..<count).map {
          .init(name: "\($0).npy", urls: ["http://localhost/\($0).npy"], expectedByteCount: expectedByteCount)
        }))
  }
}
