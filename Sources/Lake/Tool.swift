// What this build is, and what it runs on: recorded with every version and
// rebuild, and by invariant 3 without effect on any byte.

internal import Base
internal import Features
internal import Foundation

/// This build of tarn.
package enum Tool {
  /// Semantic version; CHANGELOG.md says what changed.
  package static let version = "0.1.0"

  /// Where this build's file is, absolute.
  ///
  /// - Throws: ``TarnError`` `.io` where Linux does not say.
  package static func executablePath() throws -> String {
    guard let path = SystemPath.program() else {
      throw TarnError(.io, "cannot tell where this tarn's file is", hint: "name it with --tarn")
    }
    return path
  }

  /// Refuses a name in `TARN_SIMD` that is none, which would be taken for the best level without a word.
  ///
  /// - Throws: ``TarnError`` `.usage`.
  package static func requireSimdLevel() throws {
    let name = ProcessInfo.processInfo.environment["TARN_SIMD"] ?? ""
    guard !name.isEmpty, !SimdLevel.names.contains(name) else { return }
    throw TarnError(
      .usage, "TARN_SIMD names no instructions: '\(name.printable)'",
      hint: "it is \(SimdLevel.names.alternatives)")
  }

  /// Canonical JSON of the tool and the machine.
  package static var environment: String {
    var facts: [String: JSONValue] = [
      "tool": .string("tarn \(version)"),
      "system": .string(ProcessInfo.processInfo.operatingSystemVersionString),
      "processors": .integer(Int64(ProcessInfo.processInfo.activeProcessorCount)),
    ]
    if let engine = ProcessInfo.processInfo.environment["TARN_ENGINE"] { facts["engine"] = .string(engine) }
    if let model = cpuModel { facts["cpu"] = .string(model) }
    return JSONValue.object(facts).text
  }

  /// The most memory this process ever had, in bytes; nil when Linux does not
  /// say.
  package static var peakByteCount: Int? {
    guard let text = Disk.text(of: "/proc/self/status") else { return nil }
    let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 << 10 }
  }

  private static var cpuModel: String? {
    guard let text = Disk.text(of: "/proc/cpuinfo") else { return nil }
    let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
    return line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) }
  }
}
