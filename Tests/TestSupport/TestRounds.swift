// How often a test repeats itself that could go on for ever.

import Foundation

/// The rounds of long loops: a part of them, or all with `make test-full`.
package enum TestRounds {
  /// Whether `TARN_TEST_FULL=1` asks for every round.
  package static let isFull = ProcessInfo.processInfo.environment["TARN_TEST_FULL"] == "1"

  /// How many rounds to do.
  ///
  /// - Parameters:
  ///   - usual: As many as every test run can afford.
  ///   - full: All.
  /// - Returns: One of them.
  package static func count(_ usual: Int, full: Int) -> Int { isFull ? full : usual }
}
