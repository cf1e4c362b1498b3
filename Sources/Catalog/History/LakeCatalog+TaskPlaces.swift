// Where tasks were laid for workers: rows that a training drew lie there, and what workers made of them. The history
// keeps it, for nothing else in the lake knows of a directory that somebody named.

package import Base
internal import GRDB

/// A place of tasks.
package struct TaskPlace: Sendable {
  /// The version, or the trained index by the name that it had then.
  package let subject: String
  /// The directory, or the prefix of an object store, absolute.
  package let place: String
  /// Where results go, if not there.
  package let results: String?
  /// Whether what the tasks are of is done, which removes what they needed.
  package let isDone: Bool
}

extension LakeCatalog {
  /// Keeps where tasks lie, before anything is laid there.
  ///
  /// - Parameters:
  ///   - place: The directory, or the prefix of an object store, absolute.
  ///   - results: Where results go, if not there.
  ///   - subject: The version, or the trained index.
  ///   - spec: Digest of its specification.
  ///   - sources: Numbers of the sources whose rows it is made of.
  /// - Throws: ``TarnError``.
  package func noteTasks(
    at place: String, results: String?, of subject: String, _ spec: ContentDigest, from sources: [Int64]
  ) throws {
    var detail: [String: JSONValue] = [
      "place": .string(place), "spec_sha256": .string(spec.hex), "sources": .array(sources.map { .integer($0) }),
    ]
    if let results { detail["results"] = .string(results) }
    let text = JSONValue.object(detail).text
    try write("tasks") { [detail] database in
      let isKnown = try Bool.fetchOne(
        database, sql: "SELECT EXISTS (SELECT 1 FROM event WHERE subject = ? AND verb = ? AND detail = ?)",
        arguments: [subject, EventVerb.tasks.rawValue, text])
      guard isKnown != true else { return }
      try LakeCatalog.record(.tasks, subject, detail, database)
    }
  }

  /// Where tasks were laid that have rows of a source.
  ///
  /// - Parameter source: The source.
  /// - Returns: The places, each once for what its tasks are of, whether they are there still or not.
  /// - Throws: ``TarnError``.
  package func taskPlaces(of source: Source) throws -> [TaskPlace] {
    try taskPlaces("EXISTS (SELECT 1 FROM json_each(e.detail, '$.sources') j WHERE j.value = ?2)", source.id)
  }

  /// Where tasks were laid of a version, or of a trained index by its name.
  ///
  /// - Parameter subject: `NAME@N`, or the trained index.
  /// - Returns: As ``taskPlaces(of:)``.
  /// - Throws: ``TarnError``.
  package func taskPlaces(ofWork subject: String) throws -> [TaskPlace] {
    try taskPlaces("e.subject = ?2", subject)
  }

  private func taskPlaces(_ condition: String, _ asked: any DatabaseValueConvertible) throws -> [TaskPlace] {
    try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT DISTINCT e.subject, json_extract(e.detail, '$.place') AS place,
            json_extract(e.detail, '$.results') AS results,
            EXISTS (SELECT 1 FROM trained_index t
              WHERE t.spec_sha256 = json_extract(e.detail, '$.spec_sha256') AND t.state = 'ready')
            OR EXISTS (SELECT 1 FROM index_version v
              WHERE v.name || '@' || v.number = e.subject AND v.state IN ('sealed', 'revoked')) AS is_done
          FROM event e WHERE e.verb = ?1 AND \(condition) ORDER BY place, e.subject
          """, arguments: [EventVerb.tasks.rawValue, asked]
      ).map { row in
        TaskPlace(subject: row["subject"], place: row["place"], results: row["results"], isDone: row["is_done"])
      }
    }
  }
}
