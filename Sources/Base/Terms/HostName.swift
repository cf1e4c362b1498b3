// What this machine calls itself.

internal import Glibc

/// The name of the machine, for people.
package enum HostName {
  /// The name, or a question mark where the system gives none; one line of what can be seen.
  package static let current: String = {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "?" }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).printable
  }()
}
