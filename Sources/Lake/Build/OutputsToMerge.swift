// Which outputs of a build can be merged. Pure: no catalog, no file.

internal import Catalog

/// Which outputs of a version still lack segments, counted as they come.
struct OutputsToMerge {
  /// Outputs of the version, those recorded before included.
  let count: Int
  /// Rows that the version will hold.
  let rowCount: Int
  /// Rows of them that are encoded.
  private(set) var rowsDone: Int
  /// Outputs that this run has merged and read back.
  private(set) var merged: Set<Int> = []
  private var missing: [Int: Int]

  init(inputs: [VersionInput], done: Set<Int>, toEncode: [Int64: VersionInput]) {
    count = (inputs.last?.outputOrdinal ?? -1) + 1
    rowCount = inputs.reduce(0) { $0 + ($1.isHole ? 0 : $1.rowCount) }
    rowsDone = rowCount - toEncode.values.reduce(0) { $0 + $1.rowCount }
    missing = Dictionary(uniqueKeysWithValues: (0..<count).filter { !done.contains($0) }.map { ($0, 0) })
    for input in toEncode.values { missing[input.outputOrdinal, default: 0] += 1 }
  }

  /// Says that an input has its segment, or will have none.
  mutating func finish(_ input: VersionInput) {
    rowsDone += input.rowCount
    missing[input.outputOrdinal, default: 1] -= 1
  }

  /// The outputs that lack nothing any more, each given once.
  mutating func takeComplete() -> [Int] {
    let complete = missing.filter { $0.value == 0 }.keys.sorted()
    for output in complete { missing[output] = nil }
    merged.formUnion(complete)
    return complete
  }
}
