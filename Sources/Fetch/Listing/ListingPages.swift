// What one page of a listing says, as Hubs and stores answer: its files, and what asks for
// the next one. Pure.

package import Base
internal import Foundation

/// One page of a listing.
package struct ListingPage: Sendable, Equatable {
  package let files: [ListedFile]
  /// What asks for the next page; nil at the end.
  package let next: String?

  package init(files: [ListedFile], next: String?) {
    self.files = files
    self.next = next
  }

  /// Reads a page of a Hub's tree.
  ///
  /// - Parameters:
  ///   - body: The answer's body.
  ///   - links: The values of its `Link` fields.
  ///   - address: What was asked.
  /// - Throws: ``TarnError`` `.integrity`; `.refused` for a next page that is elsewhere.
  package init(tree body: [UInt8], links: [String], at address: String) throws(TarnError) {
    let shown = WebAddress.redacted(address)
    let entries: [HubTree.Entry]
    do throws(HubTree.Fault) {
      entries = try HubTree.entries(of: body)
    } catch {
      throw TarnError(
        .integrity, "\(shown) is no page of a tree: \(error.message)",
        hint: "a Hub answers so at /api/datasets/ORG/NAME/tree/REVISION; a login page or a proxy may have answered")
    }
    var files: [ListedFile] = []
    for entry in entries {
      let digest = entry.objectID.flatMap(HubTree.digest(ofObjectID:))
      guard entry.objectID == nil || digest != nil else {
        throw TarnError(.integrity, "\(shown): the oid of \(entry.path.printable) is not a SHA-256")
      }
      files.append(ListedFile(path: entry.path, byteCount: entry.byteCount, digest: digest))
    }
    self.files = files
    next = try ListingPage.cursor(in: links, of: address)
  }

  /// What asks for the next page, of a `Link` field (RFC 8288): of its address the cursor
  /// alone counts, and it must lead where the question went, or to the Hub of which that
  /// is a copy.
  static func cursor(in links: [String], of address: String) throws(TarnError) -> String? {
    let targets = links.flatMap(ListingPage.targets(of:))
    guard let target = targets.first else { return nil }
    let shown = WebAddress.redacted(address)
    guard targets.count == 1 else { throw TarnError(.integrity, "\(shown) has \(targets.count) next pages") }
    let asked = try WebAddress(address)
    let next: WebAddress
    do throws(TarnError) {
      next = try asked.redirected(to: target)
    } catch {
      throw TarnError(.refused, "\(shown) has a next page that is not followed: \(WebAddress.redacted(target))")
    }
    let path = { (address: WebAddress) in
      let text = address.url.prefix { $0 != "?" }
      return text.dropFirst(address.scheme.rawValue.count + 3).drop { $0 != "/" }
    }
    let hub = try WebAddress(HubDirectory.defaultHub)
    guard next.origin == asked.origin || next.origin == hub.origin, path(asked).hasSuffix(path(next)) else {
      throw TarnError(
        .refused, "\(shown) has a next page elsewhere, which is not followed: \(WebAddress.redacted(target))")
    }
    let cursors = AddressText(next.url).items.filter { $0.name == "cursor" }.compactMap(\.value)
    guard cursors.count == 1, let cursor = cursors.first, !cursor.isEmpty else {
      throw TarnError(.integrity, "\(shown) has a next page without a cursor")
    }
    return String(cursor)
  }

  /// The addresses of a `Link` field's value that are of a next page.
  private static func targets(of value: String) -> [String] {
    var found: [String] = []
    var rest = Substring(value)
    while let open = rest.firstIndex(of: "<"), let close = rest[open...].firstIndex(of: ">") {
      let target = String(rest[rest.index(after: open)..<close])
      let behind = rest[rest.index(after: close)...]
      let end = behind.firstIndex(of: "<") ?? behind.endIndex
      let isNext = behind[..<end].split(whereSeparator: { ";, \t".contains($0) }).contains { parameter in
        let pair = parameter.split(separator: "=", maxSplits: 1)
        return pair.count == 2 && pair[0].lowercased() == "rel"
          && pair[1].lowercased().filter { $0 != "\"" } == "next"
      }
      if isNext { found.append(target) }
      rest = behind[end...]
    }
    return found
  }

  /// Reads a page of ListObjectsV2.
  ///
  /// Objects whose keys end in a slash stand for directories, and are passed over.
  ///
  /// - Parameters:
  ///   - body: The answer's body, a `ListBucketResult`.
  ///   - place: The prefix, for messages.
  /// - Throws: ``TarnError`` `.integrity`.
  /// - SeeAlso: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
  package init(store body: [UInt8], of place: String) throws(TarnError) {
    var files: [ListedFile] = []
    let (isTruncated, cursor): (Bool, String?)
    do throws(StoreDocument.Fault) {
      let root = try StoreDocument(body).root
      guard root.name == "ListBucketResult" else { throw StoreDocument.Fault(message: "it is no ListBucketResult") }
      let isEncoded = try root.text(of: "EncodingType") == "url"
      for object in root.elements("Contents") {
        guard let written = try object.text(of: "Key"),
          // As forms encode: a plus is a space.
          let key = isEncoded ? written.replacing("+", with: " ").removingPercentEncoding : written
        else { throw StoreDocument.Fault(message: "it has an object without a key") }
        guard !key.hasSuffix("/") else { continue }
        guard let size = try object.text(of: "Size").flatMap({ decimal(Substring($0)) }) else {
          throw StoreDocument.Fault(message: "it does not say how large \(key.printable) is")
        }
        files.append(ListedFile(path: key, byteCount: size))
      }
      isTruncated = try root.isTruncated()
      cursor = try root.text(of: "NextContinuationToken")
    } catch {
      throw error.error(of: "the store's listing of \(place)")
    }
    self.files = files
    next = isTruncated ? cursor : nil
    guard !isTruncated || next != nil else {
      throw TarnError(.integrity, "the store's listing of \(place) goes on, and does not say how")
    }
  }
}
