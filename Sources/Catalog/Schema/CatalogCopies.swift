// The copy of a catalog that a process reads where nothing beside the catalog can be written (SQLiteFailure.swift).
// Whoever looks at a lake again and again opens it each time: it is copied anew when it or its log has changed.
//
// Invariants:
//   1. A copy is given out again only if both files were what they are now before it was made, and after.
//   2. At most one is kept, and at most one is made at a time.

internal import Base
internal import Synchronization

/// What tells a catalog with its log from itself before a change.
package struct CatalogState: Sendable, Equatable {
  private let path: String
  private let file: [Int]
  /// Nil for no log.
  private let log: [Int]?

  /// Nil where one of them changed so lately that another change might not be seen, and where there is no catalog.
  package init?(of path: String) {
    guard let file = LakeCatalog.settledIdentity(of: path) else { return nil }
    let log = path + "-wal"
    let logState = LakeCatalog.settledIdentity(of: log)
    guard logState != nil || Disk.size(of: log) == nil else { return nil }
    (self.path, self.file, self.log) = (path, file, logState)
  }

  /// As they are, however lately they changed; nil where there is no catalog.
  package init?(lately path: String) {
    guard let file = Disk.identity(of: path) else { return nil }
    (self.path, self.file, log) = (path, file, Disk.identity(of: path + "-wal"))
  }

  /// Whether the catalog is the same file, changed or not: another may have taken its name.
  package func isSameFile(as other: CatalogState) -> Bool { file.prefix(2) == other.file.prefix(2) }
}

/// The last copy of a catalog.
package final class CatalogCopies<Value: Sendable>: Sendable {
  private struct Kept: Sendable {
    let state: CatalogState
    let value: Value
  }

  private let kept = Mutex<Kept?>(nil)

  package init() {}

  /// Gives a copy of a catalog.
  ///
  /// - Parameters:
  ///   - path: The catalog.
  ///   - make: Makes one.
  /// - Returns: The last one, if the catalog and its log are what they were then.
  /// - Throws: What `make` throws.
  package func copy(of path: String, _ make: () throws -> Value) throws -> Value {
    try kept.withLock { kept throws -> Value in
      let state = CatalogState(of: path)
      if let state, let kept, kept.state == state { return kept.value }
      // Not two of them in memory.
      kept = nil
      let value = try make()
      if let state, CatalogState(of: path) == state { kept = Kept(state: state, value: value) }
      return value
    }
  }
}
