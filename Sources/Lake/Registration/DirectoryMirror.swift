// A directory as a place of shards: which one somebody means, and the address of a file in it.

internal import Base
internal import Catalog
internal import Foundation

/// A directory whose files are shards.
struct DirectoryMirror {
  /// Absolute.
  let path: String

  /// The directory of a path, there or not.
  init(at path: String) { self.path = path }

  /// The directory that somebody names, by a path or a `file://` address; nil where none is there.
  init?(named text: String) {
    var paths: [String] = []
    if text.hasPrefix("file:///") {
      let path = String(text.dropFirst("file://".count))
      // As it would be in an address, or as it is.
      paths = [path.removingPercentEncoding ?? path, path]
    } else if !text.isEmpty, AddressText(text).scheme.isEmpty {
      paths = [text]
    }
    guard let found = paths.lazy.map(LakeLayout.absolute).first(where: Disk.isDirectory) else { return nil }
    path = found
  }

  /// The directory of a mirror whose files were registered; nil for any other mirror.
  ///
  /// - Parameters:
  ///   - mirror: The mirror.
  ///   - first: The address of its first shard: a template without an ordinal is that address itself.
  init?(_ mirror: Mirror, first: String?) {
    guard mirror.template.hasPrefix("file:///"),
      first?.removingPercentEncoding?.hasPrefix(mirror.template + "/") == true
    else { return nil }
    path = String(mirror.template.dropFirst("file://".count))
  }

  /// What the catalog calls it, in the place of a template.
  var template: String { "file://\(path)" }

  var isThere: Bool { Disk.isDirectory(path) }

  /// Whether it has a file of a name.
  func has(_ name: String) -> Bool { Disk.size(of: "\(path)/\(name)") != nil }

  /// The address of a file in it.
  ///
  /// - Parameter name: The name of the file, there or not.
  /// - Returns: Its address, percent-encoded.
  /// - Throws: ``TarnError`` `.usage` for what cannot be one.
  func url(_ name: String) throws -> String {
    guard let encoded = "\(path)/\(name)".addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) else {
      throw TarnError(.usage, "the file name '\(name.printable)' cannot be written as a URL")
    }
    return "file://\(encoded)"
  }
}
