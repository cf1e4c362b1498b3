// Files of file systems that do not answer.

import Base
import Dispatch
import Lake
import Testing

@Suite struct OutsideFileTests {
  /// Nobody waits for what hangs, nor asks it again meanwhile; other mirrors are asked as ever.
  @Test func whatHangsIsNotWaitedFor() {
    let goesOn = DispatchSemaphore(value: 0)
    let files = OutsideFiles(waiting: 0.2) { path in
      if path == "/hung/a" { goesOn.wait() }
      return .file(byteCount: path.utf8.count)
    }
    let began = ContinuousClock.now
    #expect(files.look(at: "/hung/a", on: 1) == .untold)
    #expect(files.look(at: "/hung/b", on: 1) == .untold)
    #expect(files.look(at: "/well/a", on: 2) == .file(byteCount: 7))
    #expect(ContinuousClock.now - began < .seconds(10))
    goesOn.signal()
    while files.look(at: "/hung/b", on: 1) == .untold {}
    #expect(files.look(at: "/hung/b", on: 1) == .file(byteCount: 7))
  }
}
