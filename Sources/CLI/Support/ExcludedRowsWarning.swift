// What is written of a version for others, and has rows that somebody wants gone.

internal import Base
internal import Lake

extension LakeCatalog {
  /// Warns that files of a version have rows that were excluded since it was made.
  ///
  /// - Parameters:
  ///   - name: The version.
  ///   - place: What they are in now; it is there, whatever is found here.
  func warnOfExcludedRows(_ name: VersionName, in place: String) {
    let hidden: HiddenRows?
    do {
      hidden = try hiddenRows(of: name)
    } catch {
      return Output.diagnostic(
        "tarn: warning: which rows of \(name) were excluded since it was made cannot be said: \(error)")
    }
    guard let count = hidden?.held?.count, count > 0 else { return }
    Output.diagnostic(
      "tarn: warning: \(place.printableLine) has \(count.counted("row")) of \(name) that \(count == 1 ? "was" : "were") "
        + "excluded since it was made; a version that is built now has none of them")
  }
}
