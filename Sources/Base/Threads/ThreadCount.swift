// How many threads compute where no option says it: one rule for building, searching and serving.

internal import Foundation

/// The number of threads of this process.
package enum ThreadCount {
  /// The variable that says it.
  package static let variable = "TARN_THREADS"

  /// The number that this process's environment says, or one for each processor.
  ///
  /// - Throws: ``TarnError`` `.usage` for what is no number of threads, which would else be taken for another one
  ///   without a word.
  package static func ofProcess() throws(TarnError) -> Int {
    try told(by: ProcessInfo.processInfo.environment[variable])
      ?? ProcessInfo.processInfo.activeProcessorCount
  }

  /// The number that a variable says.
  ///
  /// - Parameter text: Its value; nil where it is not set.
  /// - Returns: Nil where it says nothing.
  /// - Throws: ``TarnError`` `.usage` for what is no number of threads.
  package static func told(by text: String?) throws(TarnError) -> Int? {
    guard let text, !text.isEmpty else { return nil }
    guard let count = Int(text), (1...1024).contains(count) else {
      throw TarnError(
        .usage, "\(variable) is '\(text.printable)', and no number of threads, 1 to 1024",
        hint: "correct it, or unset it")
    }
    return count
  }
}
