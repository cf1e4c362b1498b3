// Programs as children: real ones, run to their end and started to outlive or not.

import Base
import Foundation
import Testing

@Suite struct ChildRunTests {
  private static let longTime = Duration.seconds(600)

  /// What a script of a shell writes, and how it ends.
  private func shell(
    _ script: String, input: [UInt8] = [], isLeftAlone: Bool = false
  ) throws -> (output: [UInt8], errors: [UInt8], end: Int32) {
    let child = ChildRun(
      ["sh", "-c", script], input: input, heard: [.output, .errors], time: Self.longTime, isLeftAlone: isLeftAlone)
    var (output, errors): ([UInt8], [UInt8]) = ([], [])
    let ended = try child.run(refusal: .usage) { stream, piece in
      if stream == .output { output += piece } else { errors += piece }
      return true
    }
    #expect(ended.cause == nil)
    return (output, errors, ended.end)
  }

  /// More than a pipe holds, and neither waits for the other.
  @Test func bothStreamsAreHeard() throws {
    let ran = try shell("head -c 300000 /dev/zero; head -c 400000 /dev/zero >&2; exit 3")
    #expect(ran.output.count == 300_000 && ran.errors.count == 400_000 && ran.end == 3)
  }

  @Test func moreIsFedThanAPipeHolds() throws {
    let input = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let ran = try shell("cat", input: input)
    #expect(ran.output == input && ran.end == 0)
  }

  @Test func aSignalIsToldAsOne() throws {
    let ended = try ChildRun(["sh", "-c", "kill -USR1 $$"], heard: []).run(refusal: .usage) { _, _ in true }
    #expect(ended.signal == SIGUSR1 && ended.cause == nil)
  }

  @Test func whatIsNotThereIsRefused() throws {
    let error = #expect(throws: TarnError.self) {
      try ChildRun(["tarn-test-no-such-program"], heard: [.output]).run(refusal: .usage) { _, _ in true }
    }
    #expect(error?.code == .usage)
    let other = #expect(throws: TarnError.self) {
      try ChildProcess(
        ["true"], environment: nil, directory: "/tarn-test-no-such-directory", streams: [-1, -1, -1], refusal: .usage)
    }
    #expect(other?.code == .io && other?.message.contains("/tarn-test-no-such-directory") ?? false)
  }

  /// Each limit ends it, and says so.
  @Test func whatMayNotGoOnIsKilled() throws {
    let endless = ["sh", "-c", "while :; do echo y; done"]
    let enough = try ChildRun(endless, heard: [.output]).run(refusal: .usage) { _, _ in false }
    #expect(enough.cause == .enough && enough.signal == SIGKILL)
    let overdue = try ChildRun(["sleep", "1000"], heard: [.output], time: .milliseconds(20))
      .run(refusal: .usage) { _, _ in true }
    #expect(overdue.cause == .overdue && overdue.signal == SIGKILL)
    let stopped = try ChildRun(["sleep", "1000"], heard: []).run(refusal: .usage, isStopped: { true }) { _, _ in true }
    #expect(stopped.cause == .stopped && stopped.signal == SIGKILL)
  }

  /// Who holds its streams when it has ended is not waited for: killed, or let go where it was so asked.
  @Test(arguments: [false, true]) func whatItLeavesIsNotWaitedFor(isLeftAlone: Bool) throws {
    let ran = try shell("sleep 1000 & echo $!", isLeftAlone: isLeftAlone)
    let number = try #require(Int32(String(decoding: ran.output, as: UTF8.self).dropLast()))
    defer { if isLeftAlone { kill(number, SIGKILL) } }
    // Whoever inherited it may not have taken note of its end yet.
    func isAlive() -> Bool {
      let stat = try? String(contentsOfFile: "/proc/\(number)/stat", encoding: .utf8)
      return stat.map { !$0.contains(") Z ") } ?? false
    }
    if isLeftAlone {
      #expect(isAlive())
    } else {
      // A signal is on its way when it was sent.
      while isAlive() { usleep(1_000) }
    }
  }

  @Test func nothingIsInherited() throws {
    let own = open("/dev/null", O_RDONLY)
    defer { close(own) }
    // The last is the directory that it lists.
    let ran = try shell("exec ls /proc/self/fd")
    #expect(String(decoding: ran.output, as: UTF8.self) == "0\n1\n2\n3\n")
  }

  /// One ends with the thread that started it, the other with nobody.
  @Test func whoOutlivesTheThreadIsSaid() throws {
    let started = ThreadedWork("test") {
      try [true, false].map {
        try ChildProcess(
          ["sleep", "1000"], environment: nil, streams: [-1, -1, -1], outlivesThread: $0, refusal: .io)
      }
    }
    let children = try started.wait()
    children[1].waitForEnd()
    #expect(children[1].look() == 256 + SIGKILL)
    #expect(children[0].look() == nil)
    children[0].signal(SIGTERM)
    children[0].waitForEnd()
    #expect(children[0].look() == 256 + SIGTERM)
    children[1].reap()
    children[0].bury()
  }
}
