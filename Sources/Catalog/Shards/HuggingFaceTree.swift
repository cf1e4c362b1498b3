// Sizes and digests from a Hugging Face tree listing: the server's own word for
// every file, without downloading one.

package import Base

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

  /// Reads a listing.
  ///
  /// - Parameters:
  ///   - path: A file with the listing as JSON.
  ///   - shards: The shards; files of other names are ignored.
  /// - Throws: ``TarnError`` `.usage`; `.inputsMissing` or `.io` when it cannot be
  ///   read.
  package init(path: String, of shards: ShardPlaces) throws {
    let entries: [HubTree.Entry]
    let bytes = try Disk.contents(of: path)
    do throws(HubTree.Fault) {
      entries = try HubTree.entries(of: bytes)
    } catch {
      throw TarnError(
        .usage, "\(path) is not a tree listing: \(error.message)",
        hint: "save https://huggingface.co/api/datasets/REPO/tree/REVISION/DIR with curl; join its pages with jq -s add"
      )
    }
    var facts = ShardFacts<Fact>(of: shards, from: path)
    for entry in entries { try facts.take(Fact(size: entry.byteCount, objectID: entry.objectID), for: entry.path) }
    let found = try facts.all()
    var digests: [String: ContentDigest] = [:]
    for (name, fact) in found {
      if let size = fact.size { try ForeignNumber.byteCount.check(size, "the size of \(name.printable)", in: path) }
      guard let text = fact.objectID else { continue }
      guard let digest = HubTree.digest(ofObjectID: text) else {
        throw TarnError(.usage, "\(path): the oid of \(name) is not a SHA-256")
      }
      digests[name] = digest
    }
    sizes = found.compactMapValues(\.size)
    self.digests = digests
  }
}
