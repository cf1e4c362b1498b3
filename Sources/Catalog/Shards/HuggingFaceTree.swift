// Sizes and digests from a Hugging Face tree listing: the server's own word for
// every file, without downloading one.

package import Base
internal import Foundation

/// What a tree listing says of shards.
///
/// - SeeAlso: https://huggingface.co/docs/hub/api
package struct HuggingFaceTree {
  package let sizes: [String: Int]
  /// Of files in LFS, whose object id is the SHA-256 of their content.
  ///
  /// The `oid` of another file is Git's and says nothing of the kind.
  package let digests: [String: ContentDigest]

  /// What the listing says of one file.
  private struct Fact: Equatable {
    let size: Int?
    let objectID: String?
  }

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
  ///   - shards: The shards; files of other names are ignored.
  /// - Throws: ``TarnError`` `.usage`; `.inputsMissing` or `.io` when it cannot be
  ///   read.
  package init(path: String, of shards: ShardPlaces) throws {
    let bytes = Data(try Disk.contents(of: path))
    guard let entries = try? JSONDecoder().decode([Entry].self, from: bytes) else {
      throw TarnError(
        .usage, "\(path) is not a tree listing",
        hint: "save https://huggingface.co/api/datasets/REPO/tree/REVISION/DIR with curl; join its pages with jq -s add"
      )
    }
    var facts = ShardFacts<Fact>(of: shards, from: path)
    for entry in entries where entry.type == "file" {
      try facts.take(
        Fact(size: entry.lfs?.size ?? entry.size, objectID: entry.lfs?.oid), for: entry.path)
    }
    let found = try facts.all()
    var digests: [String: ContentDigest] = [:]
    for (name, fact) in found {
      if let size = fact.size { try ForeignNumber.byteCount.check(size, "the size of \(name.printable)", in: path) }
      guard let text = fact.objectID else { continue }
      guard let digest = ContentDigest(hex: text.replacing("sha256:", with: "")) else {
        throw TarnError(.usage, "\(path): the oid of \(name) is not a SHA-256")
      }
      digests[name] = digest
    }
    sizes = found.compactMapValues(\.size)
    self.digests = digests
  }
}
