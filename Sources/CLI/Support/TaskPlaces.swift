// Where a verb's tasks lie, as its arguments say it.

internal import Base
internal import Foundation
internal import Lake

extension GlobalOptions {
  /// Finds the tasks of a directory or of a store.
  ///
  /// - Parameters:
  ///   - place: A directory, or `s3://BUCKET/PREFIX`.
  ///   - patience: How long a store that fails for now is waited for.
  ///   - results: Where a new plan shall have its results; nil for beside the tasks.
  ///   - cache: Where copies of what many tasks need are kept; nil for TMPDIR.
  ///   - fetch: How to ask a store.
  /// - Returns: The tasks, with their results where the plan says.
  /// - Throws: ``TarnError``.
  func tasks(
    at place: String, patience: TimeSpan, results: String? = nil, cache: String? = nil,
    fetch: FetchConfiguration = .ofTool
  ) async throws -> TaskDirectory {
    let access = storeAccess(patience: patience, cache: cache, fetch: fetch)
    // A store may take its time to answer.
    return try await ThreadedWork("tarn-tasks") { try TaskDirectory.open(absolute(place), access, results: results) }
      .value()
  }

  /// How a store of tasks is reached; as ``tasks(at:patience:results:cache:fetch:)``.
  func storeAccess(patience: TimeSpan, cache: String? = nil, fetch: FetchConfiguration = .ofTool) -> StoreAccess {
    StoreAccess(
      fetch, patience: patience.duration, cache: absolute(cache ?? temporaryDirectory()), cancellation: cancellation)
  }
}

/// A path as every host of a shared file system has it; an address of a store as it is.
func absolute(_ path: String) -> String {
  path.isStoreAddress ? path : LakeLayout.absolute(path)
}

/// Where what is under way is kept unless an option says otherwise.
func temporaryDirectory() -> String {
  SystemPath.variable("TMPDIR") ?? "/tmp"
}
