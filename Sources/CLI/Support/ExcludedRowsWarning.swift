// What is written of a version for others, and has rows that somebody wants gone.

internal import Base
internal import Lake

extension LakeCatalog {
  /// Warns that something has rows of a version that were excluded since it was made.
  ///
  /// - Parameters:
  ///   - name: The version.
  ///   - something: What is done already, whatever is found here, with its verb: `FOLDER has`.
  func warnOfExcludedRows(_ name: VersionName, _ something: String) {
    let hidden: HiddenRows?
    do {
      hidden = try hiddenRows(of: name)
    } catch {
      return Output.diagnostic(
        "tarn: warning: which rows of \(name) were excluded since it was made cannot be said: \(error)")
    }
    guard let count = hidden?.held?.count, count > 0 else { return }
    Output.diagnostic(
      "tarn: warning: \(something.printableLine) \(count.counted("row")) of \(name) that \(count == 1 ? "was" : "were") "
        + "excluded since it was made; a version that is built now has none of them")
  }
}
