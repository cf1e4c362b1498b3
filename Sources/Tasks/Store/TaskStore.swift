// Where the files of tasks lie, as whoever works with them needs it: a directory that all
// see, or a prefix of an object store. Names are below the place, with one folder:
// `plan.json`, `tasks/0007.….json`. What is where, and in which order it is written, is
// TaskDirectory's to say.

package import Base
package import Fetch

/// Files of tasks in one place; may be asked from any thread.
package protocol TaskStore: Sendable {
  /// The names in a folder that begin with some text, in no order.
  ///
  /// - Parameters:
  ///   - folder: The folder; one that is not there is empty.
  ///   - start: What the names begin with.
  /// - Returns: The names.
  /// - Throws: ``TarnError`` where it cannot be read.
  func names(in folder: String, from start: String) throws -> [String]
  /// The bytes of a small file; nil where there is none.
  ///
  /// - Throws: ``TarnError`` `.integrity` for one of more than `limit` bytes.
  func contents(_ name: String, atMost limit: Int) throws -> [UInt8]?
  /// Bytes of a file; nil where there is none.
  func byteCount(of name: String) throws -> Int?
  /// Writes a small file, durably; what is there is replaced.
  ///
  /// - Parameters:
  ///   - bytes: What it is.
  ///   - name: Its name.
  ///   - writer: Names this process where others may write the same file meanwhile.
  /// - Throws: ``TarnError`` when the disk or the store refuses.
  func write(_ bytes: [UInt8], as name: String, by writer: String?) throws
  /// Writes a small file whose name says its digest, unless it is there; likewise.
  func keep(_ bytes: [UInt8], as name: String, by writer: String?) throws
  /// Writes a small file, durably, under a name that nothing has; in a store that knows no conditions another may be
  /// replaced that is written in that moment.
  ///
  /// - Parameters:
  ///   - bytes: What it is.
  ///   - name: Its name.
  ///   - working: A name in a folder, of this process alone, that it may have first.
  /// - Returns: Whether it is there; false where something else has the name, and stays.
  /// - Throws: ``TarnError`` when the disk or the store refuses.
  func create(_ bytes: [UInt8], as name: String, by working: String) throws -> Bool
  /// Makes sure that files can be made in a folder, as far as that shows beforehand. Nothing is left there.
  ///
  /// - Throws: ``TarnError`` `.io`, or what the store refuses with.
  func requireWritable(_ folder: String) throws
  /// Gives a file another name; what has it is replaced.
  func move(_ name: String, to other: String) throws
  /// Removes a file; one that is gone already is fine.
  func remove(_ name: String) throws
  /// Where a file grows on this machine that ``put(_:as:_:by:)`` takes.
  ///
  /// - Parameters:
  ///   - name: Its name while it grows, with the folder; of this process alone.
  ///   - scratch: A directory of this process.
  /// - Returns: The path.
  /// - Throws: ``TarnError`` when the disk refuses.
  func workingPath(_ name: String, in scratch: String) throws -> String
  /// Takes a file that grew at its working path; what is there under its name and is not
  /// these bytes is replaced.
  ///
  /// - Parameters:
  ///   - path: The file, durable; it goes.
  ///   - name: Its name, which says its digest.
  ///   - digest: Its SHA-256.
  ///   - scratch: Where is remembered what was taken of it, from one run to the next.
  /// - Throws: ``TarnError`` when the disk or the store refuses.
  func put(_ path: String, as name: String, _ digest: ContentDigest, by scratch: String) throws
  /// Takes a copy of a file of this machine, unless it is there, whole.
  ///
  /// - Parameters:
  ///   - file: Where the file is; asked where it may be needed.
  ///   - name: Its name, which says its digest.
  ///   - digest: Its SHA-256.
  ///   - isDoubted: Whether what a store says to be these bytes is read before it is believed; what lies in a
  ///     directory always is.
  /// - Returns: Whether it was laid now.
  /// - Throws: ``TarnError`` when the disk or the store refuses; what `file` throws.
  func share(_ file: () throws -> String, as name: String, _ digest: ContentDigest, isDoubted: Bool) throws -> Bool
  /// Reads a file as one of this machine.
  ///
  /// - Parameters:
  ///   - name: Its name, which says its digest.
  ///   - digest: Its SHA-256, for `body` to hold it against.
  ///   - body: Reads it; a copy that it finds wrong is fetched again, once.
  /// - Returns: What `body` gives.
  /// - Throws: ``TarnError`` where it cannot be had; what `body` throws.
  func reading<Value>(_ name: String, _ digest: ContentDigest, _ body: (_ path: String) throws -> Value) throws -> Value
  /// Gives a file another name on this machine, at the cost of its bytes where need be.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - byteCount: Bytes of it.
  ///   - digest: Its SHA-256, which whoever reads it holds it against where it lay here.
  ///   - path: Where it goes; what an earlier run fetched of it is kept.
  /// - Throws: ``TarnError`` `.integrity` where it came as other bytes.
  func take(_ name: String, _ byteCount: Int, _ digest: ContentDigest, to path: String) throws
  /// The file where it is one of this user's on this machine.
  func ownPath(of name: String) -> String?
}

/// How stores of tasks are reached.
package struct StoreAccess: Sendable {
  /// How to ask, and who asks: credentials are of the environment and nowhere else.
  package var configuration: FetchConfiguration
  /// How long a store that fails for now is waited for; zero for not at all.
  package var patience: Duration
  package var cancellation: Cancellation
  /// Where copies of files that many tasks need are kept on this machine.
  package var cache: String

  package init(
    _ configuration: FetchConfiguration, patience: Duration, cache: String, cancellation: Cancellation
  ) {
    self.configuration = configuration
    self.patience = patience
    self.cache = cache
    self.cancellation = cancellation
  }
}
