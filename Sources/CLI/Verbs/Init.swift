internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn init`: make a lake.
struct Init: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make a new lake.",
    discussion: """
      Where there is one with these directories already, nothing is done.

      EXAMPLES
        tarn init laion
        tarn init laion --shards /nvme/shards --artifacts /disk/results

      \(ExitStatus.help)
      """)

  @Argument(
    help: "The lake's directory; created when missing (default: --lake, else TARN_LAKE, else this one).",
    completion: .directory)
  var directory: String?

  @OptionGroup var directories: LakeDirectoryOptions

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  /// - Throws: ``ValidationError`` when two directories are named.
  func validate() throws {
    if let directory, let lake = global.lake, LakeLayout.absolute(directory) != LakeLayout.absolute(lake) {
      throw ValidationError("two directories are named, \(directory) and, by --lake, \(lake); name one")
    }
  }

  /// The lake's directory as it was named.
  private var root: String { directory ?? global.lake ?? SystemPath.variable("TARN_LAKE") ?? "." }

  func run() throws {
    let (shards, artifacts) = directories.places
    let wanted = LakeLayout(root: root, shards: shards, artifacts: artifacts)
    let isNew = !isThere(wanted)
    if isNew, let above = LakeLayout.findRoot(from: wanted.root.parentPath) {
      global.note(
        "tarn: warning: \(wanted.root) is inside the lake \(above); below it, commands find the new one")
    }
    if isNew {
      _ = try LakeCatalog.create(root: root, shards: shards, artifacts: artifacts)
    }
    if global.json {
      Output.json([
        "lake": .string(wanted.root), "shards": .string(wanted.shards), "artifacts": .string(wanted.artifacts),
        "new": .bool(isNew),
      ])
    } else {
      Output.line(
        isNew ? "made a lake in \(wanted.root)" : "there is a lake in \(wanted.root) already; nothing changed")
    }
    Output.flush()
  }

  /// Whether there is a lake with these directories, whole as far as opening it tells.
  private func isThere(_ wanted: LakeLayout) -> Bool {
    guard Disk.size(of: wanted.catalog) != nil, let known = try? LakeCatalog.open(root: root, writing: nil).layout
    else { return false }
    return known.shards == wanted.shards && known.artifacts == wanted.artifacts
  }
}
