// The course of a listing that comes in pages: what came, which page is next, and when it is
// too much. Pure: pages go in, what to ask comes out.

package import Base

/// A listing on its way.
package struct ListingCourse: Sendable {
  /// How much a listing may be.
  package struct Limits: Sendable {
    package var pageCount = 10_000
    /// Bytes of one page.
    package var pageByteCount = 8 << 20
    /// Bytes of all pages.
    package var byteCount = 1 << 30
    /// Files that are wanted of it.
    package var fileCount = 1_000_000
    package var cursorByteCount = 4_096

    package init() {}
  }

  private let place: String
  private let limits: Limits
  private let isWanted: @Sendable (String) -> Bool
  private var pageCount = 0
  private var byteCount = 0
  private var cursors: Set<String> = []
  private var paths: Set<String> = []
  /// The files that are wanted, as they came.
  package private(set) var files: [ListedFile] = []
  /// What asks for the next page; nil before the first one, and behind the last.
  package private(set) var cursor: String?
  /// Whether the last page came.
  package private(set) var isWhole = false

  /// Begins.
  ///
  /// - Parameters:
  ///   - place: The place, for messages.
  ///   - limits: How much it may be.
  ///   - isWanted: Whether a file's path is one to take.
  package init(of place: String, limits: Limits = Limits(), isWanted: @escaping @Sendable (String) -> Bool) {
    self.place = place
    self.limits = limits
    self.isWanted = isWanted
  }

  /// Takes a page.
  ///
  /// - Parameters:
  ///   - page: Its files.
  ///   - start: What each path must begin with.
  ///   - byteCount: Bytes that it had.
  ///   - next: What asks for the page behind it; nil at the end.
  /// - Throws: ``TarnError`` `.integrity`; then the listing is worth nothing.
  package mutating func take(
    _ page: [ListedFile], below start: String, byteCount: Int, next: String?
  ) throws(TarnError) {
    pageCount += 1
    self.byteCount = self.byteCount.addingSaturated(byteCount)
    guard self.byteCount <= limits.byteCount else {
      throw tooMuch("more than \(ByteSize.text(limits.byteCount))")
    }
    for file in page {
      guard file.path.hasPrefix(start), file.path.utf8.count > start.utf8.count else {
        throw error("it names \(file.path.printable), which is not below it")
      }
      let path = String(file.path.dropFirst(start.count))
      guard isWanted(path) else { continue }
      if let fault = ListedFile.fault(ofPath: file.path) {
        throw error("it names '\(file.path.printable)': \(fault)")
      }
      guard paths.insert(file.path).inserted else { throw error("it names \(file.path.printable) twice") }
      if let size = file.byteCount, !ForeignNumber.byteCount.holds(size) {
        throw error("\(size) cannot be the bytes of \(file.path.printable)")
      }
      guard files.count < limits.fileCount else { throw tooMuch("more than \(limits.fileCount) files") }
      files.append(file)
    }
    cursor = next
    guard let next else {
      isWhole = true
      return
    }
    guard !next.isEmpty, next.isVisibleASCII, next.utf8.count <= limits.cursorByteCount else {
      throw error("its next page has a cursor that is none")
    }
    guard cursors.insert(next).inserted else { throw error("it has no end: a next page comes again") }
    guard pageCount < limits.pageCount else { throw tooMuch("more than \(limits.pageCount) pages") }
  }

  private func error(_ message: String) -> TarnError {
    TarnError(.integrity, "the listing of \(place) is refused: \(message)")
  }

  private func tooMuch(_ what: String) -> TarnError {
    TarnError(
      .integrity, "the listing of \(place) is refused: it has \(what)",
      hint: "name a directory below it, or choose fewer with --match")
  }
}
