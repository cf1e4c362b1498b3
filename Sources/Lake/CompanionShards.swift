// What is asked of a companion's file when it comes: that it is of its format, and how
// many rows it has.

internal import Base
internal import Companions
internal import Fetch

extension FileExamination {
  /// That of a companion's shard.
  static func ofCompanion(_ name: String) -> FileExamination {
    FileExamination(
      faultOfStart: { start in
        guard let format = CompanionFormat(ofFile: name) else { return "its name says no format of rows" }
        return format.fault(ofStart: start)
      }, rowCount: { try CompanionFile($0, named: name).rowCount() })
  }
}
