// Every reader with any bytes: what fuzzing has found worth keeping, read again,
// and a short run of changed files with every test. `make fuzz` is the long one,
// led by coverage.

internal import Base
import Foundation
import FuzzReaders
import Testing
import TestSupport

/// Changes files as damage and malice do.
private struct Mutator {
  var random: SplitMix64
  /// Numbers that readers compute with.
  private static let numbers: [UInt64] = [
    0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000,
    0xFFFF_FFFF, 1 << 40,
    1 << 62, .max >> 1, .max,
  ]

  mutating func below(_ bound: Int) -> Int {
    bound < 1 ? 0 : Int(random.next() % UInt64(bound))
  }

  mutating func changed(_ seed: [UInt8], with other: [UInt8]) -> [UInt8] {
    var file = seed
    for _ in 0...below(4) {
      guard !file.isEmpty else { return other }
      let at = below(file.count)
      switch below(9) {
      case 0: file[at] ^= 1 << UInt8(below(8))
      case 1: file[at] = UInt8(truncatingIfNeeded: random.next())
      case 2: file.removeLast(below(file.count))
      case 3: file.removeSubrange(at..<min(file.count, at + below(16)))
      case 4:
        file.insert(
          contentsOf: (0..<below(12)).map { _ in UInt8(truncatingIfNeeded: random.next()) }, at: at)
      case 5:
        file.insert(contentsOf: file[at..<min(file.count, at + below(64))], at: below(file.count))
      case 6, 7:
        let (number, width) = (Self.numbers[below(Self.numbers.count)], 1 << below(4))
        for i in 0..<min(width, file.count - at) {
          file[at + i] = UInt8(truncatingIfNeeded: number >> UInt64(8 * i))
        }
      default: file = Array(file[..<at] + other[below(other.count)...])
      }
    }
    return file
  }
}

struct FuzzTests {
  @Test(arguments: FuzzReader.allCases)
  func goodFilesAreRead(reader: FuzzReader) throws {
    let scratch = try Scratch()
    for (number, bytes) in try FuzzSeeds.files(for: reader, in: scratch.path).enumerated() {
      #expect(try reader.read(bytes, in: scratch.path), "file \(number)")
    }
  }

  @Test(arguments: FuzzReader.allCases)
  func changedFilesAreReadOrRefused(reader: FuzzReader) throws {
    let scratch = try Scratch()
    let seeds = try FuzzSeeds.files(for: reader, in: scratch.path)
    var mutator = Mutator(random: SplitMix64(seed: 41))
    var refused = 0
    for tried in 0..<300 {
      let file = mutator.changed(seeds[mutator.below(seeds.count)], with: seeds[tried % seeds.count])
      if try !reader.read(file, in: scratch.path) { refused += 1 }
    }
    #expect(refused > 0)
  }

  /// The files that `make fuzz` kept: between them they reach all that it has
  /// reached, and every file that ever broke a reader is among them.
  @Test(arguments: FuzzReader.allCases)
  func keptFilesAreReadOrRefused(reader: FuzzReader) throws {
    let scratch = try Scratch()
    let kept = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../Fuzz/Seeds/\(reader)").standardized
    let files = try FileManager.default.contentsOfDirectory(at: kept, includingPropertiesForKeys: nil)
    #expect(!files.isEmpty)
    for file in files { _ = try reader.read(Array(Data(contentsOf: file)), in: scratch.path) }
  }
}
