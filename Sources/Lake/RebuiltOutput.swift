// What came of one output of a rebuild, as a run that is interrupted leaves it for the
// next: the output's shards may have left the lake.

internal import Base
internal import Foundation

/// An output that was made again and compared.
struct RebuiltOutput: Sendable, Codable {
  let ordinal: Int
  let digest: ContentDigest
  let listsDigest: ContentDigest
  let rowCount: Int
  let byteCount: Int
  /// Digest of the codes that refine it; nil where nothing does.
  let refineDigest: ContentDigest?
  /// The first list that differs from the recorded output's, and the first row in it.
  var list: Int?
  var rowID: Int64?

  private static func path(_ ordinal: Int, _ directory: String) -> String { "\(directory)/output-\(ordinal).json" }

  /// Keeps it, durably.
  func write(in directory: String) throws {
    try Disk.writeAtomically(try JSONEncoder().encode(self), to: Self.path(ordinal, directory))
  }
}

extension RebuiltOutput {
  /// What an interrupted run left of an output; nil where it left nothing.
  init?(of ordinal: Int, in directory: String) {
    guard let text = Disk.text(of: Self.path(ordinal, directory)),
      let found = try? JSONDecoder().decode(RebuiltOutput.self, from: Data(text.utf8)), found.ordinal == ordinal
    else { return nil }
    self = found
  }
}
