// Times as tarn writes them: in the catalog, in documents, in the history.

package import Foundation

/// Times as the catalog writes them: UTC, `YYYY-MM-DDTHH:MM:SS.SSSZ`.
package enum Timestamp {
  /// The present time.
  package static func now() -> String { text(Date()) }

  /// A date in the catalog's form.
  package static func text(_ date: Date) -> String {
    date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }
}
