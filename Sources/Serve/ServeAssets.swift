// The files of the pages, which are in the program.

internal import Base
internal import Report

/// Style and script.
enum ServeAssets {
  private static let files: [String: (type: String, bytes: [UInt8])] = [
    "tarn.css": ("text/css; charset=utf-8", Array(ReportPage.style.utf8) + PackageResources.tarn_css),
    "tarn.js": ("text/javascript; charset=utf-8", PackageResources.tarn_js),
  ]

  static func answer(_ name: String) -> ServeAnswer {
    guard let file = files[name] else { return .error(404, "there is no such file") }
    var answer = ServeAnswer(200, file.type, file.bytes)
    answer.headers["Cache-Control"] = "no-cache"
    return answer
  }
}
