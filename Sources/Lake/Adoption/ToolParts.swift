// What this build was made of, and the libraries that it runs on: what a report of a fault must say.

internal import Base
internal import CBuild
internal import Fetch
internal import Foundation

extension Tool {
  /// The commit of this build, with `+changes` where files differed from it; `unknown` where the
  /// build was not told.
  package static var commit: String { String(cString: cbuild_commit()) }

  /// Libraries and their versions, as they are loaded now; FAISS as ``IndexReader``'s helper has it.
  package static var libraries: [(name: String, version: String)] {
    [
      ("SQLite", String(cString: cbuild_sqlite_version())),
      ("libcurl", CurlLibrary.version),
      ("OpenBLAS", String(cString: cbuild_openblas_version())),
      ("FAISS", helperVersion ?? "not known: tarn-adopt, which reads its files, is not beside this tool"),
    ]
  }

  /// What `tarn-adopt --version` says; nil where it cannot be run.
  private static var helperVersion: String? {
    guard let path = try? executablePath() else { return nil }
    let helper = ChildRun([path.parentPath + "/tarn-adopt", "--version"], heard: [.output])
    var said: [UInt8] = []
    let ended = try? helper.run(refusal: .io) { _, piece in
      said += piece
      return said.count < 1 << 12
    }
    let text = String(decoding: said, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    return ended?.end == 0 && !text.isEmpty ? text.printable : nil
  }
}
