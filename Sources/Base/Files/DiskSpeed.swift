// How fast a file system takes bytes, found out without a file that has a name.

internal import Foundation

/// A measurement of a file system.
package enum DiskSpeed {
  private static let byteCount = 32 << 20
  /// Room that must be free besides: nobody's work ends for a measurement.
  private static let roomByteCount = 1 << 30

  /// Writes and syncs some mebibytes.
  ///
  /// Nothing is left, whatever ends the process: the file never has a name.
  ///
  /// - Parameter directory: On the file system.
  /// - Returns: Bytes a second; nil where that cannot be found out: the file system has no
  ///   files without names, may not be written to, or is nearly full.
  package static func bytesPerSecond(below directory: String) -> Double? {
    guard let free = (try? FileSystem(of: directory))?.freeByteCount, free >= roomByteCount else { return nil }
    guard let descriptor = UnnamedFile.openNeverNamed(in: directory) else { return nil }
    defer { close(descriptor) }
    let block = [UInt8](unsafeUninitializedCapacity: 1 << 20) { buffer, count in
      // Not zeros, which some file systems do not write.
      var random = SplitMix64(seed: 1)
      for place in 0..<(1 << 20) { unsafe buffer[place] = UInt8(truncatingIfNeeded: random.next()) }
      count = 1 << 20
    }
    let clock = ContinuousClock()
    let start = clock.now
    for _ in 0..<(byteCount / block.count) {
      guard unsafe block.withUnsafeBytes({ unsafe write(descriptor, $0.baseAddress, $0.count) }) == block.count else {
        return nil
      }
    }
    guard (try? FaultPlan.step("fsync", directory)) != nil, fsync(descriptor) == 0 else { return nil }
    return Double(byteCount) / max((clock.now - start).seconds, 1e-9)
  }
}
