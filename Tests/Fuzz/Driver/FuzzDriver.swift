// What libFuzzer calls; its `main` is linked by `--sanitize fuzzer`.
// `tarn-fuzz READER …` tries one reader, with libFuzzer's options;
// `tarn-fuzz seeds READER DIR` writes good files to begin with;
// `tarn-fuzz readers` names them.
// https://llvm.org/docs/LibFuzzer.html#startup-initialization

import Foundation
import FuzzReaders

/// The reader, and where its files go.
enum Driver {
  // Set before libFuzzer starts, which calls from one thread.
  nonisolated(unsafe) static var reader = FuzzReader.npy
  nonisolated(unsafe) static var directory = ""

  /// Chooses the directory: in memory where that is possible.
  static func makeDirectory() throws {
    let base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NSTemporaryDirectory()
    directory = base + "/tarn-fuzz-\(getpid())"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    atexit { try? FileManager.default.removeItem(atPath: Driver.directory) }
  }

  static func writeSeeds(_ name: String, to target: String) throws {
    guard let reader = FuzzReader(rawValue: name) else { fail("there is no reader \(name)") }
    try makeDirectory()
    for (number, bytes) in try FuzzSeeds.files(for: reader, in: directory).enumerated() {
      try Data(bytes).write(to: URL(fileURLWithPath: target + "/good-\(number)"))
    }
  }

  static func fail(_ text: String) -> Never {
    FileHandle.standardError.write(Data((text + "\n").utf8))
    exit(64)
  }
}

@_cdecl("LLVMFuzzerInitialize")
func initialize(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>
) -> CInt {
  let words = CommandLine.arguments
  let variable = "TARN_FUZZ_READER"
  do {
    switch words.dropFirst().first {
    case "readers":
      print(FuzzReader.allCases.map(\.rawValue).joined(separator: "\n"))
      exit(0)
    case "seeds" where words.count == 4:
      try Driver.writeSeeds(words[2], to: words[3])
      exit(0)
    case let option? where option.hasPrefix("-"):
      // A process that `-merge=1` starts: with what libFuzzer was left of the words.
      let name = ProcessInfo.processInfo.environment[variable] ?? option
      guard let reader = FuzzReader(rawValue: name) else { Driver.fail("there is no reader \(name)") }
      Driver.reader = reader
      try Driver.makeDirectory()
      return 0
    case let name?:
      guard let reader = FuzzReader(rawValue: name) else { Driver.fail("there is no reader \(name)") }
      Driver.reader = reader
      setenv(variable, name, 1)
      try Driver.makeDirectory()
    case nil: Driver.fail("usage: tarn-fuzz READER [libFuzzer options] [DIR…]")
    }
  } catch {
    Driver.fail("\(error)")
  }
  // The reader's name goes; the program's must stay in front.
  arguments.pointee[1] = arguments.pointee[0]
  count.pointee -= 1
  arguments.pointee += 1
  return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  do {
    _ = try Driver.reader.read(Array(UnsafeBufferPointer(start: bytes, count: count)), in: Driver.directory)
  } catch {
    FileHandle.standardError.write(Data("violation: \(error)\n".utf8))
    abort()
  }
  return 0
}
