// Rows that lie beside tasks, where no command of the lake takes them away.

internal import Base
internal import Lake

extension TaskPlace {
  /// What people are told of rows beside tasks.
  ///
  /// - Parameters:
  ///   - subject: What the tasks are of.
  ///   - folders: Where the rows may lie; not none.
  /// - Returns: A line.
  static func words(_ subject: String, _ folders: [String]) -> String {
    let them = folders.count == 1 ? "it" : "them"
    return
      "\(folders.joined(separator: " and ")) may have rows, for the tasks of \(subject): remove \(them) when no worker "
      + "needs \(them) any more"
  }
}

extension LakeCatalog {
  /// Says where rows lie for tasks of what is given up.
  ///
  /// - Parameter subject: The version, or the trained index.
  /// - Throws: ``TarnError``.
  func tellOfTasks(of subject: String) throws {
    for place in try taskPlaces(ofWork: subject) {
      let folders = place.placesOfRows
      if !folders.isEmpty { Output.line(TaskPlace.words(subject, folders)) }
    }
  }
}
