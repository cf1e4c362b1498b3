// A place's listing, read whole: page after page from a Hub or a store, waited for while
// they fail for now (R21). What a page means is ListingPages', what is too much ListingCourse's.

package import Base
internal import Foundation

/// A listing that came whole.
package struct FileListing: Sendable, Equatable {
  /// The files that were wanted, by their names in byte order.
  package let files: [ListedFile]
  /// The commit that it is of; nil of a store, and where a Hub does not say.
  package let commit: String?
}

/// Reads listings.
///
/// Blocks the thread that calls it; it lives on one.
package final class ListingReader {
  private let configuration: FetchConfiguration
  private let patience: Duration
  private let clock: () -> ContinuousClock.Instant
  private let isCancelled: () -> Bool
  private let reader: PlainReader
  private static let revisionByteCount = 4 << 20

  /// Prepares a reader for the calling thread; the parameters are those of ``PlainReader``.
  package init(
    configuration: FetchConfiguration, patience: Duration, clock: @escaping () -> ContinuousClock.Instant,
    isCancelled: @escaping () -> Bool,
    onTrouble: @escaping (_ host: String, _ pause: Duration, _ left: Duration) -> Void
  ) throws(TarnError) {
    self.configuration = configuration
    self.patience = patience
    self.clock = clock
    self.isCancelled = isCancelled
    reader = try PlainReader(
      configuration: configuration, patience: patience, clock: clock, isCancelled: isCancelled, onTrouble: onTrouble)
  }

  /// Reads a listing.
  ///
  /// - Parameters:
  ///   - place: The place.
  ///   - limits: How much it may be.
  ///   - isWanted: Whether a file is one to take, by its path below the place.
  /// - Returns: All of it.
  /// - Throws: ``TarnError``; `.absent` where there is no such place.
  package func files(
    of place: ListingPlace, limits: ListingCourse.Limits = ListingCourse.Limits(),
    isWanted: @escaping @Sendable (String) -> Bool
  ) throws(TarnError) -> FileListing {
    var course = ListingCourse(of: place.text.printable, limits: limits, isWanted: isWanted)
    var commit: String?
    switch place {
    case .hub(let directory):
      commit = try self.commit(of: directory)
      repeat {
        let address = directory.pageAddress(at: commit, cursor: course.cursor)
        let answer = try explained { () throws(TarnError) in
          try reader.answer(of: address, atMost: limits.pageByteCount)
        }
        guard let answer else {
          throw TarnError(
            .absent, "there is no \(place.text.printable)",
            hint:
              "look at its address in a browser; of a gated or private repository only who has HF_TOKEN sees that it is there"
          )
        }
        let page = try ListingPage(tree: answer.body, links: answer.head.values("link"), at: address)
        try course.take(page.files, below: place.start, byteCount: answer.body.count, next: page.next)
      } while !course.isWhole
    case .store(let bucket, _):
      let store = try ObjectStore(
        "s3://\(bucket)", configuration: configuration, patience: patience, clock: clock, isCancelled: isCancelled)
      repeat {
        let body = try store.page(of: place.start, after: course.cursor, atMost: limits.pageByteCount)
        let page = try ListingPage(store: body, of: place.text.printable)
        try course.take(page.files, below: place.start, byteCount: body.count, next: page.next)
      } while !course.isWhole
    }
    return FileListing(
      files: course.files.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }, commit: commit)
  }

  /// The commit that a Hub says a revision is; nil where it does not say.
  private func commit(of directory: HubDirectory) throws(TarnError) -> String? {
    if let revision = directory.revision, HubTree.isCommit(revision) { return revision }
    let answer = try explained { () throws(TarnError) in
      try reader.answer(of: directory.revisionAddress, atMost: Self.revisionByteCount)
    }
    // What copies a Hub may not have this question: the tree says whether there is anything.
    guard let answer else { return nil }
    guard let commit = HubTree.commit(of: answer.body) else {
      throw TarnError(
        .integrity, "\(WebAddress.redacted(directory.revisionAddress)) does not say which commit the revision is",
        hint: "name a commit: \(ListingPlace.hub(directory).text.printable) with @COMMIT")
    }
    return commit
  }

  private func explained<Value>(_ ask: () throws(TarnError) -> Value) throws(TarnError) -> Value {
    do throws(TarnError) {
      return try ask()
    } catch {
      guard error.code == .refused, error.message.contains("HTTP 401") || error.message.contains("HTTP 403") else {
        throw error
      }
      throw TarnError(error.code, error.message, hint: FetchConfiguration.wayIntoHub)
    }
  }

  /// The lines of a list of addresses, as it is at an address.
  ///
  /// - Parameter url: An `http`, `https` or `s3` address.
  /// - Returns: The list's text.
  /// - Throws: ``TarnError``; `.integrity` for one of which nobody could tell whether it was cut.
  package func list(at url: String) throws(TarnError) -> [UInt8] {
    guard let answer = try reader.answer(of: url, atMost: 64 << 20) else {
      throw TarnError(
        .absent, "there is no list at \(WebAddress.redacted(url))", hint: "look at its address in a browser")
    }
    // R8: what is left of a list is a list.
    guard answer.head.tellsItsEnd else {
      throw TarnError(
        .integrity,
        "the list at \(WebAddress.redacted(url)) comes without a length: nobody can tell whether it was cut",
        hint: "save it to a file, see that it is whole, and name the file")
    }
    return answer.body
  }
}
