// What is written of a version for others, or came from them, and has rows that somebody wants gone; and what is found
// in one that somebody withdrew.

internal import Base
internal import Lake

extension LakeCatalog {
  /// Warns that something has rows of a version that were excluded since it was made.
  ///
  /// - Parameters:
  ///   - name: The version.
  ///   - something: What is done already, whatever is found here, with its verb: `FOLDER has`.
  ///   - time: Since when its rows were fixed, for people.
  func warnOfExcludedRows(_ name: VersionName, _ something: String, since time: String = "it was made") {
    let count = excludedRowCount(of: name, since: time)
    guard count > 0 else { return }
    Output.warn(
      "\(something.printableLine) \(count.counted("row")) of \(name) that \(count == 1 ? "was" : "were") "
        + "excluded since \(time); a version that is built now has none of them")
  }

  /// Warns that a version that came from elsewhere has rows that are excluded in this lake.
  ///
  /// - Parameter name: The version, which is in the lake now.
  func warnOfExcludedRows(in name: VersionName) {
    let count = excludedRowCount(of: name)
    guard count > 0 else { return }
    let (are, them) = count == 1 ? ("is", "it") : ("are", "them")
    Output.warn(
      "\(name) has \(count.counted("row")) that \(are) excluded here: searches leave \(them) out; "
        + "`tarn revoke \(name) --reason TEXT` and `tarn gc --apply` remove the files that hold \(them)")
  }

  /// Excluded rows that a version's files may hold; 0 where that cannot be said, which is told.
  private func excludedRowCount(of name: VersionName, since time: String = "it was made") -> Int {
    do {
      return try hiddenRows(of: name)?.held?.count ?? 0
    } catch {
      Output.warn(
        "which rows of \(name) were excluded since \(time) cannot be said: \(error)")
      return 0
    }
  }
}

extension IndexVersion {
  /// Warns that a version was withdrawn: who names it by its number need not know, and it answers as it did.
  func warnWhereRevoked() {
    guard state == .revoked else { return }
    Output.warn("\(name) was revoked, and no server answers from it; `tarn versions` names those that were not")
  }
}
