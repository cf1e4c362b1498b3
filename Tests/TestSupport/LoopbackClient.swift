// A client of a server on this machine that sends whatever bytes a test wants, right or wrong.

internal import Foundation
internal import Glibc
internal import Synchronization

/// One connection to 127.0.0.1.
///
/// Sendable because the descriptor never changes, and what was read of the next answer is behind a lock.
package final class LoopbackClient: Sendable {
  private let descriptor: Int32
  /// What came behind the last answer.
  private let rest = Mutex<[UInt8]>([])

  /// Connects; nil where nobody listens.
  package init?(port: Int) {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let status = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard status == 0 else {
      close(descriptor)
      return nil
    }
  }

  deinit { close(descriptor) }

  /// Sends bytes; false once the other side is gone.
  @discardableResult
  package func send(_ text: String) -> Bool {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  /// What comes until the other side closes.
  package func readToEnd() -> String {
    var bytes = rest.withLock(\.self)
    while let more = readSome() { bytes += more }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// One answer with a Content-Length: its head and its body; nil where none comes whole.
  package func readAnswer() -> (head: String, body: String)? {
    var bytes = rest.withLock(\.self)
    let end = Array("\r\n\r\n".utf8)
    while true {
      if let place = bytes.firstRange(of: end) {
        let head = String(decoding: bytes[..<place.lowerBound], as: UTF8.self)
        let length =
          head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
          .flatMap { Int($0.dropFirst(15).trimmingPrefix(" ")) } ?? 0
        if bytes.count >= place.upperBound + length {
          rest.withLock { $0 = Array(bytes[(place.upperBound + length)...]) }
          return (head, String(decoding: bytes[place.upperBound..<(place.upperBound + length)], as: UTF8.self))
        }
      }
      guard let more = readSome() else { return nil }
      bytes += more
    }
  }

  private func readSome() -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count < 0, errno == EINTR { continue }
      return count > 0 ? Array(buffer[..<count]) : nil
    }
  }

  /// A port of this machine that was free a moment ago.
  package static func freePort() -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        _ = bind(descriptor, $0, size)
        _ = getsockname(descriptor, $0, &size)
      }
    }
    return Int(UInt16(bigEndian: address.sin_port))
  }
}
