// What can be done about a file that has another dimension or element type than its source:
// said with the names that there are, and only where it can be done.

internal import Base
internal import Catalog
internal import Features
internal import Foundation
internal import Synchronization

extension SyncRun {
  /// Asks for no more shards of a source of which two that came are of another kind, and of which none was ever had: what
  /// it is registered as is wrong, and each of the others would be fetched in vain.
  func leaveUnasked(besides shard: Shard) {
    guard state.withLock({ $0.isAnother(ofOtherKind: shard) }), options.selection == nil,
      let source = try? catalog.source(id: shard.sourceID), catalog.allowsOtherRows(of: source)
    else { return }
    state.withLock { $0.leaveUnasked(ofSource: source.id, named: source.name) }
  }

  /// What can be done about a file that is not of its source's kind.
  ///
  /// - Parameters:
  ///   - head: What the file says of its rows.
  ///   - shard: The shard that it would be.
  ///   - source: Its source.
  ///   - urls: Where the shard is.
  /// - Returns: Advice; nil where another mirror may have the right file.
  func remedy(for head: FeatureHead, of shard: Shard, _ source: Source, at urls: [String]) -> String? {
    let isOfDimension = head.dimension.map { $0 == source.dimension } ?? true
    let option =
      isOfDimension ? head.elementType.map { "--dtype \($0.rawValue)" } : head.dimension.map { "--dimension \($0)" }
    let correction =
      catalog.allowsOtherRows(of: source)
      ? option.map { "if the source is wrong, `tarn source set \(source.name) \($0)` corrects it" } : nil
    let files = urls.lazy.filter { $0.hasPrefix("file:///") }.compactMap {
      String($0.dropFirst("file://".count)).removingPercentEncoding
    }
    // Of files of this machine `source add` has seen the first, as far as it tells: the others are others.
    if let file = files.first(where: { Disk.size(of: $0) != nil }) {
      let isWritable = FeatureFormat(extensionOf: shard.name)?.writable.contains(source.elementType) ?? false
      guard isOfDimension, isWritable, source.array == nil, [.float16, .float32].contains(source.elementType) else {
        let others = "features of another kind are a source of their own, from a directory of theirs"
        return shard.ordinal == 0 ? correction ?? others : others
      }
      let type = source.elementType.rawValue
      let parts = file.lastPathPart.split(separator: ".", omittingEmptySubsequences: false)
      let copy = "\(parts.dropLast().joined(separator: "."))-\(type).\(parts.last ?? "")"
      let paths = "\(QuotedWords.quoted(file)) \(QuotedWords.quoted(copy))"
      return "`tarn convert \(paths) --dtype \(type)` writes it as its source has it, to be put in its place"
    }
    return correction
  }
}
