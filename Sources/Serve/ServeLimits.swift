// Every bound of the server, in one place: what one connection, all of them together and
// each kind of work may take.

/// What a server allows itself to be asked for.
package struct ServeLimits: Sendable {
  /// Connections that are open at a time.
  ///
  /// At that number the one that has waited longest for a request is closed for a new one; where none waits, the new
  /// one is.
  package var connections = 1024
  /// Bytes of a request's line and headers together.
  package var headByteCount = 16 << 10
  /// Headers of a request.
  package var headerCount = 64
  /// Bytes of a request's target.
  package var targetByteCount = 8 << 10
  /// Bytes of a request's body: an image in base64 is the longest.
  package var bodyByteCount = 8 << 20
  /// Bytes of an answer.
  package var answerByteCount = 32 << 20
  /// Bytes of bodies and answers that are held for all connections together.
  package var heldByteCount = 512 << 20
  /// How long a connection may go without a whole head.
  package var headTime = Duration.seconds(30)
  /// How long a body may take to arrive.
  package var bodyTime = Duration.seconds(30)
  /// How long an answer may take to be read.
  package var sendTime = Duration.seconds(60)
  /// How long a query may wait to be searched.
  package var queryTime = Duration.seconds(30)
  /// Requests of one address a second, and how many it may have saved up; addresses of this machine are not counted.
  package var requestsPerSecond = 100.0
  package var requestBurst = 400.0
  /// Queries that wait to be searched.
  package var waitingQueries = 1024
  /// Queries that are searched together.
  package var batchQueries = 256
  /// How long queries that are searched together may take in all, alone ones after them included.
  package var searchTime = Duration.seconds(30)
  /// How long the rows of a `where` may be looked at.
  package var filterTime = Duration.seconds(30)
  /// Filters that are kept, and bytes of all of them: a bit for each row of which a condition holds, and more.
  package var filterCount = 64
  package var filterByteCount = 256 << 20
  /// Work that waits in each lane.
  package var waitingWork = 256
  /// Neighbours of a query.
  package var neighbors = 10_000
  /// How long a verb that answers an API path may run, and SQL.
  package var verbTime = Duration.seconds(30)
  package var sqlTime = Duration.seconds(10)
  /// Bytes of an SQL statement.
  package var sqlByteCount = 32 << 10
  /// Rows of an SQL answer.
  package var sqlRowCount = 10_000

  package init() {}

  /// Takes no more connections than there is room for, 16 at least: each is an open file, and where the system allows few,
  /// few are served, and the server lives.
  ///
  /// - Parameters:
  ///   - room: Files that may be open beside those that any process has.
  ///   - held: Those of them that the columns of versions may hold.
  package mutating func fit(openFiles room: Int, holding held: Int) {
    connections = min(connections, max(room - held, 16))
  }
}

/// Bytes that are held for all connections together.
///
/// Confined to whoever owns it: the server keeps it behind a lock.
struct ByteLedger: Sendable {
  let limit: Int
  private(set) var held = 0

  init(limit: Int) { self.limit = limit }

  /// Takes room for bytes; false where there is none.
  mutating func take(_ count: Int) -> Bool {
    guard held + count <= limit else { return false }
    held += count
    return true
  }

  mutating func giveBack(_ count: Int) { held -= count }
}
