// The file of queries that a user names: what is wrong with it is the user's to mend,
// and is said so, with a way that works in NumPy.

internal import Base
internal import Features

/// Queries of a user's own file.
enum QueryFile {
  /// Opens a file of queries.
  ///
  /// - Parameters:
  ///   - path: A feature file, `[n × dimension]`.
  ///   - array: Which of its arrays; nil for the only one.
  ///   - way: How to say which, for the message.
  /// - Returns: The queries; every one has a direction, so that some rows are nearest to it.
  /// - Throws: ``TarnError`` `.usage` when there is no such file or it holds something else.
  static func open(_ path: String, array: String? = nil, orElse way: String) throws -> FeatureFile {
    do {
      let file = try FeatureFile(path, array: array)
      if let bad = file.matrix.firstBadRow() {
        throw TarnError(
          .usage, "\(path): query \(bad.row) holds \(file.matrix.words(of: bad)); no row is nearest to it",
          hint: "leave it out")
      }
      for row in 0..<file.rowCount where !file.matrix.floats(rows: row..<(row + 1)).hasFiniteScores {
        throw TarnError(
          .usage, "\(path): query \(row) is so long that its scores are not finite", hint: "divide it by its length")
      }
      return file
    } catch let error as TarnError where [.badFeatures, .inputsMissing].contains(error.code) {
      let isMissing = error.code == .inputsMissing
      let own =
        FeatureFormat(ofFile: path).holdsArrays ? error.hint?.replacing(FeatureFile.wayToArray, with: way) : nil
      let rows =
        "queries are rows of float16 or float32: numpy.save(FILE, rows.reshape(-1, DIMENSION).astype('float32'))"
      throw TarnError(.usage, error.message, hint: isMissing ? "name a file of queries" : own ?? rows)
    } catch let error as TarnError where error == Disk.notRegular(path) {
      // It is mapped: what has no length cannot be.
      throw TarnError(.usage, error.message, hint: error.hint)
    }
  }
}
