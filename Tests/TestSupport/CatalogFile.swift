// A catalog as somebody else's SQLite opens it, in tests.

package import GRDB

/// Opens catalogs without tarn.
package enum CatalogFile {
  /// Opens a catalog's file with a connection that knows nothing of tarn.
  ///
  /// It waits for a lock: another connection that closes the same file holds one for a
  /// moment, and without a wait SQLite answers "database is locked".
  ///
  /// - Parameters:
  ///   - path: The catalog's file.
  ///   - configuration: What else is set; its busy mode is replaced.
  /// - Returns: The connection.
  /// - Throws: SQLite's error.
  package static func open(_ path: String, _ configuration: Configuration = Configuration()) throws -> DatabaseQueue {
    var configuration = configuration
    configuration.busyMode = .timeout(60)
    return try DatabaseQueue(path: path, configuration: configuration)
  }
}
