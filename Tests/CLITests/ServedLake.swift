// A server of a lake under way, and how it is asked.

import Foundation
import Testing
import TestSupport

/// `tarn serve` as a process.
struct ServedLake {
  let process: RunningProcess
  let port: Int

  /// Starts a server, as ``OrdinaryUser`` where that is said, and waits until it answers.
  init(_ lake: LakeFixture, _ options: [String] = [], isOrdinary: Bool = false) throws {
    port = LoopbackClient.freePort()
    let arguments = ["serve", "--listen", "127.0.0.1:\(port)"] + options
    process = try isOrdinary ? lake.startOrdinarily(arguments) : lake.start(arguments)
    for _ in 0..<600 {
      if ask("GET", "/healthz") != nil { return }
      usleep(100_000)
    }
    Issue.record("it does not listen: \(process.finish(within: .zero).errorText)")
  }

  /// Asks with a request of its own connection; nil where no answer comes.
  func ask(_ method: String, _ target: String, _ body: String = "", headers: String = "") -> (
    head: String, body: String
  )? {
    guard let client = LoopbackClient(port: port) else { return nil }
    client.send(
      "\(method) \(target) HTTP/1.1\r\nHost: 127.0.0.1\r\n\(headers)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    )
    return client.readAnswer()
  }

  /// Ends it.
  func stop() {
    process.signal(SIGTERM)
    _ = process.finish()
  }
}
