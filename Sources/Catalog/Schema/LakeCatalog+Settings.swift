// Wishes that commands at work read again: the one part of the catalog that is
// written beside everything else.

internal import Base
internal import GRDB

/// What a lake may be told while a command is at work.
package enum Setting: String, Sendable, CaseIterable {
  /// Most bytes a second over all transfers, as `--bwlimit` takes it.
  case bwlimit
}

extension LakeCatalog {
  /// What a setting is now; nil when nobody set it.
  package func setting(_ setting: Setting) throws -> String? {
    try read { try String.fetchOne($0, sql: "SELECT value FROM setting WHERE name = ?", arguments: [setting.rawValue]) }
  }

  /// Changes a setting of a lake that another process may be writing to.
  ///
  /// It takes no lease, and does not ask who has the whole lake: a setting vouches
  /// for nothing, and who waits for them could change none.
  ///
  /// - Parameters:
  ///   - setting: Which one.
  ///   - value: The new value; nil to forget it.
  ///   - root: The lake's directory.
  /// - Throws: ``TarnError``; `.locked` if the catalog is of an older schema
  ///   and a command is at work that would have migrated it.
  package static func change(_ setting: Setting, to value: String?, root: String) throws {
    let layout = try open(root: root, writing: nil, orOlder: true).layout
    let reader = try connect(to: layout.catalog, readOnly: true)
    let number = try wrapped { try reader.read { try Int.fetchOne($0, sql: "PRAGMA user_version") ?? 0 } }
    if number < schemaNumber { _ = try open(root: root, writing: "limit") }
    try requireWritable(layout)
    try TransactionLock(path: layout.transactionLock).hold {
      let queue = try connect(to: layout.catalog, readOnly: false)
      defer { try? queue.close() }
      try wrapped(at: layout.catalog) {
        try queue.writeWithoutTransaction { database in
          try database.inTransaction(.immediate) {
            if let value {
              try setting.insert(value, database)
            } else {
              try database.execute(sql: "DELETE FROM setting WHERE name = ?", arguments: [setting.rawValue])
            }
            try FaultPlan.step("commit", "setting")
            return .commit
          }
        }
      }
    }
  }
}
