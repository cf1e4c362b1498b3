// Builds and trainings of a lake that other processes carry out, and how far their tasks
// are: what `status` shows of LAKE/tasks.

internal import Base
package import Catalog
package import Tasks

/// A directory of tasks of something that is not finished.
package struct TasksUnderWay: Sendable {
  /// The version, or the trained index.
  package let subject: String
  package let directory: TaskDirectory
  /// Nil where it cannot be told.
  package let standing: TaskStanding?
  /// Why it cannot be told.
  package let fault: String?

  /// How far they are, and the first that failed, in lines.
  package var lines: [String] {
    guard let standing else { return ["tasks: \(fault ?? directory.path)"] }
    return ["tasks of \(subject), \(standing.summary)"]
      + standing.failures.prefix(1).map { "failed task \($0.task) on \($0.word.host): \($0.word.message)" }
  }

  /// Those of a lake, by name.
  ///
  /// - Parameter catalog: The lake.
  /// - Returns: Directories whose version or training is not finished; one that is damaged is
  ///   there with its fault.
  /// - Throws: ``TarnError`` of the catalog.
  package static func all(in catalog: LakeCatalog) throws -> [TasksUnderWay] {
    guard Disk.isDirectory(catalog.layout.tasks) else { return [] }
    let lake = try catalog.uuid()
    let versions = Dictionary(
      try catalog.versions().map { ("\($0.name)", $0.state) }, uniquingKeysWith: { first, _ in first })
    return try Disk.namesIfAny(in: catalog.layout.tasks).compactMap { name in
      let directory = TaskDirectory("\(catalog.layout.tasks)/\(name)")
      guard Disk.size(of: directory.planPath) != nil else { return nil }
      do {
        let plan = try directory.plan()
        guard plan.lake == lake else { return nil }
        switch plan.kind {
        case .build:
          guard let state = versions[plan.subject], [.planned, .building].contains(state) else { return nil }
        case .train:
          guard try catalog.findTrainedIndex(named: plan.subject)?.state == .training else { return nil }
        }
        return TasksUnderWay(
          subject: plan.subject, directory: directory, standing: try directory.standing(of: plan), fault: nil)
      } catch let error as TarnError where error.code != .database {
        return TasksUnderWay(subject: name, directory: directory, standing: nil, fault: error.description)
      }
    }
  }
}

extension TaskPlace {
  /// Where rows may lie: matrices that a training searches, and what workers made; empty where none do.
  ///
  /// Nobody asks a store: of work that is not done there may be such. So may be in a directory that cannot be read.
  package var placesOfRows: [String] {
    // A version's tasks search none.
    let matrices = subject.contains("@") ? [] : ["\(place)/matrices"]
    return (matrices + ["\(results ?? place)/results"]).filter { folder in
      folder.isStoreAddress ? !isDone : (try? Disk.namesIfAny(in: folder))?.isEmpty != true
    }
  }
}
