// Where a version is rebuilt, so that a rebuild that was killed is gone on with: segments and
// what came of each output, in the lake's scratch or beside the outputs that a user wants to keep.

internal import Base
internal import Catalog
internal import Foundation
internal import Tasks

/// The place of one version's rebuild.
///
/// 1. *Whose it is.* Its mark names the version by digest, and the tarn that works there, and is there before anything else. What
///    another tarn left is made anew, so that an outcome is that of the tarn which records it. In scratch what has another mark,
///    or none, goes; a directory of the user's that holds another version's files is refused.
/// 2. *What is done.* An output is, once its record is there: that is written when the output was read back. Where outputs
///    stay, they must have the bytes of their record when a run goes on.
/// 3. *What is left.* Once the outcome is in the catalog, the outputs that stay, and nothing else.
///
/// One process at a time has it: `reproduce` leases the rebuild of its version.
struct RebuildPlace: Sendable {
  /// Segments, records and the mark.
  let work: String
  /// Where outputs go and stay; nil for none.
  let kept: String?
  private let name: VersionName
  private let mark: String

  /// The directory beside outputs that stay, as long as they are not all there.
  private static let unfinished = ".unfinished-rebuild"

  /// Chooses the place.
  ///
  /// - Parameters:
  ///   - version: What is rebuilt, sealed.
  ///   - outputs: Its outputs.
  ///   - wanted: A directory that gets the outputs: new, empty, or with what a rebuild of this version left there; nil for
  ///     the lake's scratch.
  ///   - layout: The lake.
  /// - Throws: ``TarnError`` `.usage` for a directory with other files or in the lake.
  init(of version: IndexVersion, _ outputs: [OutputShard], into wanted: String?, in layout: LakeLayout) throws {
    name = version.name
    let subject = "\(version.name) \(version.versionDigest?.hex ?? "")"
    mark = "\(subject) tarn \(Tool.version) \(segmentFormatVersion)"
    guard let wanted else {
      (work, kept) = ("\(layout.scratch)/reproduce-\(version.name)", nil)
      return
    }
    let directory = LakeLayout.absolute(wanted)
    work = "\(directory)/\(Self.unfinished)"
    var own: Set<String> = [Self.unfinished]
    if let found = Disk.text(of: Self.markPath(in: work)) {
      guard found.hasPrefix(subject + " ") else {
        let other = found.split(separator: " ").first.map { String($0).printable } ?? "another version"
        throw TarnError(
          .usage, "\(directory) has what an unfinished rebuild of \(other) left",
          hint: "finish that one by its own command, or name another directory")
      }
      // A rebuild that was killed has these, and nothing else.
      own.formUnion(outputs.flatMap { Self.files(of: $0, version.name) })
    }
    kept = try OutputPlace.emptyDirectory(directory, besides: layout, option: "--into", holding: own)
  }

  /// Names of the files of an output that is sealed.
  private static func files(of output: OutputShard, _ name: VersionName) -> [String] {
    [LakeLayout.outputName(name, ordinal: output.ordinal), LakeLayout.refineName(name, ordinal: output.ordinal)]
  }

  private static let markName = "version"
  private static func markPath(in work: String) -> String { "\(work)/\(markName)" }
  private func recordPath(_ ordinal: Int) -> String { "\(work)/output-\(ordinal).json" }

  /// Where an output or the codes that refine it are written.
  func path(_ file: String) -> String { "\(work)/\(file.lastPathPart)" }

  /// What an interrupted run rebuilt and compared.
  ///
  /// - Parameter outputs: The version's.
  /// - Returns: The records of those that are done.
  func done(_ outputs: [OutputShard]) -> [RebuiltOutput] {
    guard isContinued else { return [] }
    return outputs.compactMap { output in
      guard let text = Disk.text(of: recordPath(output.ordinal)),
        let found = try? JSONDecoder().decode(RebuiltOutput.self, from: Data(text.utf8)),
        found.ordinal == output.ordinal, kept.map({ isThere(found, in: $0) }) ?? true
      else { return nil }
      return found
    }
  }

  private func isThere(_ output: RebuiltOutput, in directory: String) -> Bool {
    func holds(_ file: String, _ digest: ContentDigest) -> Bool {
      (try? Disk.digest(of: "\(directory)/\(file)")) == digest
    }
    return holds(LakeLayout.outputName(name, ordinal: output.ordinal), output.digest)
      && output.refineDigest.map { holds(LakeLayout.refineName(name, ordinal: output.ordinal), $0) } ?? true
  }

  /// Whether an unfinished rebuild of this version by this tarn is there, which is then continued.
  var isContinued: Bool { Disk.text(of: Self.markPath(in: work)) == mark }

  /// Makes the place ready: removes what is there, unless it is continued.
  ///
  /// A mark of another tarn goes last, when this one takes its place: outputs that stay are known by it, and without it they
  /// would be a stranger's. What cannot be done after all does not come here, and leaves all as it was.
  ///
  /// - Throws: ``TarnError`` when the disk refuses.
  func begin() throws {
    if !isContinued {
      let files = FileManager.default
      for name in (try? files.contentsOfDirectory(atPath: work)) ?? [] where name != Self.markName {
        try? files.removeItem(atPath: "\(work)/\(name)")
      }
    }
    try Disk.makeDirectory(work)
    try Disk.writeAtomically(Array(mark.utf8), to: Self.markPath(in: work))
  }

  /// Keeps what came of an output, durably, and its files where they stay.
  ///
  /// - Parameters:
  ///   - output: What came of it.
  ///   - files: The paths of its files, below ``work``.
  /// - Throws: ``TarnError`` when the disk refuses.
  func keep(_ output: RebuiltOutput, files: [String]) throws {
    if let kept { for file in files { try Disk.moveIntoPlace(file, "\(kept)/\(file.lastPathPart)") } }
    try Disk.writeAtomically(try JSONEncoder().encode(output), to: recordPath(output.ordinal))
    if kept == nil { try files.forEach(Disk.remove) }
  }

  /// Takes away all but the outputs that stay.
  func finish() {
    // Without its mark nothing is gone on with, however much of the rest a kill leaves.
    try? Disk.remove(Self.markPath(in: work))
    try? FileManager.default.removeItem(atPath: work)
  }
}
