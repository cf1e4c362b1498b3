// A web server that answers exactly as a test scripts it: in this process, on a
// loopback port that the kernel picks, over plain sockets and own threads.

internal import Foundation
internal import Glibc
internal import Synchronization

/// An HTTP/1.1 server whose every answer comes from a closure.
package final class HostileServer: Sendable {
  /// A request as it came.
  package struct Request: Sendable {
    package let method: String
    /// Path and query.
    package let target: String
    /// Fields in order, names in lower case.
    package let fields: [(name: String, value: String)]
    /// As many bytes as its `Content-Length` says.
    package let body: [UInt8]
    /// How many requests for this target came before it.
    package let precedingCount: Int

    /// The value of the first field of that name.
    package func value(_ name: String) -> String? { fields.first { $0.name == name }?.value }

    /// The first byte asked for by `Range: bytes=N-` or `bytes=N-M`; nil without
    /// a range.
    package var rangeStart: Int? { rangeEnds?.first }

    /// The last byte asked for by `Range: bytes=N-M`; nil without one.
    package var rangeEnd: Int? { rangeEnds.flatMap { $0.count == 2 ? $0[1] : nil } }

    private var rangeEnds: [Int]? {
      guard let range = value("range"), range.hasPrefix("bytes=") else { return nil }
      return range.dropFirst(6).split(separator: "-").map { Int($0) ?? 0 }
    }
  }

  private struct State {
    var requests: [Request] = []
    var counts: [String: Int] = [:]
    var connections: Set<Int32> = []
    var connectionCount = 0
    var isStopped = false
  }

  /// The port on ``host``.
  package let port: Int
  /// The address, one of this machine.
  package let host: String
  private let listener: Int32
  private let state = Mutex(State())
  private let script: @Sendable (Request) -> ScriptedAnswer

  /// Listens at once.
  ///
  /// - Parameters:
  ///   - number: Listens on 127.0.0.`number`.
  ///   - script: Answers requests.
  /// - Throws: `POSIXError`.
  package init(onLoopback number: UInt8 = 1, _ script: @escaping @Sendable (Request) -> ScriptedAnswer) throws {
    self.script = script
    host = "127.0.0.\(number)"
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    self.listener = listener
    guard listener >= 0 else { throw POSIXError(.EIO) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = (UInt32(0x7F00_0000) | UInt32(number)).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 128) == 0 && getsockname(listener, $0, &length) == 0
      }
    }
    guard isBound else {
      close(listener)
      throw POSIXError(.EADDRNOTAVAIL)
    }
    port = Int(UInt16(bigEndian: address.sin_port))
    Thread.detachNewThread { [weak self] in
      // Closed by this thread alone: while it may still be between two calls, the number must not be another test's.
      defer { close(listener) }
      while true {
        let connection = accept(listener, nil, nil)
        if connection < 0 {
          // After a shutdown it is EINVAL for ever. Anything else passes, as when there are no descriptors left.
          if errno == EINVAL { return }
          if errno != EINTR { Thread.sleep(forTimeInterval: 0.001) }
          continue
        }
        guard let server = self, server.register(connection) else {
          close(connection)
          return
        }
        Thread.detachNewThread {
          server.serve(connection)
          server.unregister(connection)
        }
      }
    }
  }

  deinit { stop() }

  /// Closes the port and every connection; stalled answers end.
  package func stop() {
    state.withLock { state in
      guard !state.isStopped else { return }
      state.isStopped = true
      shutdown(listener, Int32(SHUT_RDWR))
      for connection in state.connections { shutdown(connection, Int32(SHUT_RDWR)) }
    }
  }

  /// The address of a target that starts with "/".
  package func url(_ target: String) -> String { "http://\(host):\(port)\(target)" }

  /// Everything asked so far, in order of arrival.
  package var requests: [Request] { state.withLock { $0.requests } }

  /// Connections taken so far.
  package var connectionCount: Int { state.withLock { $0.connectionCount } }

  private func register(_ connection: Int32) -> Bool {
    state.withLock { state in
      state.connectionCount += 1
      return !state.isStopped && state.connections.insert(connection).inserted
    }
  }

  private func unregister(_ connection: Int32) {
    state.withLock { state in
      state.connections.remove(connection)
      close(connection)
    }
  }

  // MARK: One connection

  private func serve(_ connection: Int32) {
    var one: Int32 = 1
    setsockopt(connection, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    var buffer: [UInt8] = []
    while let head = readHead(connection, &buffer) {
      guard let body = readBody(connection, &buffer, of: head), let request = record(head, body) else { return }
      for step in script(request).steps {
        switch step {
        case .send(let bytes): guard send(bytes, connection) else { return }
        case .stall:
          waitForHangUp(connection)
          return
        case .close:
          shutdown(connection, Int32(SHUT_RDWR))
          return
        case .reset:
          var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
          setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
          return
        case .run(let action): action()
        }
      }
    }
  }

  private func readHead(_ connection: Int32, _ buffer: inout [UInt8]) -> [String]? {
    var piece = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      let text = String(decoding: buffer, as: UTF8.self)
      if let end = text.range(of: "\r\n\r\n") {
        buffer.removeFirst(text[..<end.upperBound].utf8.count)
        return text[..<end.lowerBound].components(separatedBy: "\r\n")
      }
      let count = recv(connection, &piece, piece.count, 0)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return nil }
      buffer.append(contentsOf: piece[..<count])
    }
  }

  private func readBody(_ connection: Int32, _ buffer: inout [UInt8], of head: [String]) -> [UInt8]? {
    let length = fields(of: head).first { $0.name == "content-length" }.flatMap { Int($0.value) } ?? 0
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while buffer.count < length {
      let count = recv(connection, &piece, piece.count, 0)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return nil }
      buffer.append(contentsOf: piece[..<count])
    }
    let body = Array(buffer.prefix(length))
    buffer.removeFirst(length)
    return body
  }

  private func fields(of head: [String]) -> [(name: String, value: String)] {
    head.dropFirst().compactMap { line -> (name: String, value: String)? in
      guard let colon = line.firstIndex(of: ":") else { return nil }
      let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      return (line[..<colon].lowercased(), value)
    }
  }

  private func record(_ head: [String], _ body: [UInt8]) -> Request? {
    let words = head[0].split(separator: " ").map(String.init)
    guard words.count == 3 else { return nil }
    let fields = fields(of: head)
    return state.withLock { state in
      let request = Request(
        method: words[0], target: words[1], fields: fields, body: body,
        precedingCount: state.counts[words[1], default: 0])
      state.counts[words[1], default: 0] += 1
      state.requests.append(request)
      return request
    }
  }

  private func send(_ bytes: [UInt8], _ connection: Int32) -> Bool {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { buffer in
        Glibc.send(connection, buffer.baseAddress.map { $0 + done }, buffer.count - done, Int32(MSG_NOSIGNAL))
      }
      if count < 0 {
        if errno == EINTR { continue }
        return false
      }
      done += count
    }
    return true
  }

  /// Returns when the client gives up or the server stops.
  private func waitForHangUp(_ connection: Int32) {
    var byte: UInt8 = 0
    while true {
      let count = recv(connection, &byte, 1, 0)
      if count == 0 || (count < 0 && errno != EINTR) { return }
    }
  }
}
