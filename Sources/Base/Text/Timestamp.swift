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

  /// The date that a text in the catalog's form is; nil for any other text.
  package static func date(_ text: String) -> Date? {
    try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }

  /// The time of day here, `HH:MM:SS`.
  package static func clock(_ date: Date) -> String {
    var seconds = time_t(date.timeIntervalSince1970)
    var local = tm()
    localtime_r(&seconds, &local)
    return String(format: "%02d:%02d:%02d", local.tm_hour, local.tm_min, local.tm_sec)
  }
}
