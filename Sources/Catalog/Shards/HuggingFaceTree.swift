// Sizes and digests from a Hugging Face tree listing: the server's own word for
// every file, without downloading one.

package import Base
internal import Foundation

/// What a tree listing says of shards.
///
/// - SeeAlso: https://huggingface.co/docs/hub/api
package struct HuggingFaceTree {
  package private(set) var sizes: [String: Int] = [:]
  /// Of files in LFS, whose object id is the SHA-256 of their content.
  ///
  /// The `oid` of another file is Git's and says nothing of the kind.
  package private(set) var digests: [String: ContentDigest] = [:]

  private struct Entry: Decodable {
    struct LFS: Decodable {
      let oid: String
      let size: Int
    }
    let type: String
    let path: String
    let size: Int?
    let lfs: LFS?
  }

  /// Reads a listing.
  ///
  /// - Parameters:
  ///   - path: A file with the listing as JSON.
  ///   - names: The shards; files of other names are ignored.
  /// - Throws: ``TarnError`` `.usage`.
  package init(path: String, names: Set<String>) throws {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw TarnError(.usage, "cannot read \(path)")
    }
    guard let entries = try? JSONDecoder().decode([Entry].self, from: data) else {
      throw TarnError(
        .usage, "\(path) is not a tree listing",
        hint: "save https://huggingface.co/api/datasets/REPO/tree/REVISION/DIR with curl; join its pages with jq -s add"
      )
    }
    for entry in entries where entry.type == "file" {
      let name = entry.path.split(separator: "/").last.map(String.init) ?? entry.path
      guard names.contains(name) else { continue }
      guard sizes[name] == nil else { throw TarnError(.usage, "\(path) names \(name) twice") }
      let size = entry.lfs?.size ?? entry.size
      if let size { try ForeignNumber.byteCount.check(size, "the size of \(name.printable)", in: path) }
      sizes[name] = size
      guard let text = entry.lfs?.oid else { continue }
      guard let digest = ContentDigest(hex: text.replacing("sha256:", with: "")) else {
        throw TarnError(.usage, "\(path): the oid of \(name) is not a SHA-256")
      }
      digests[name] = digest
    }
    guard !sizes.isEmpty else {
      throw TarnError(
        .usage, "\(path) names none of the source's shards", hint: "its names must be the URLs' file names")
    }
  }
}
