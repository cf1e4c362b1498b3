// libcurl itself: how a process gets it, and how one ends that does not.

package import Base
internal import CCurl
internal import Foundation
internal import Glibc
internal import Synchronization

/// libcurl's process-wide set-up, done once.
package enum CurlLibrary {
  private static let ending = Mutex<(@Sendable (TarnError) -> Never)?>(nil)

  /// Says how the process ends where the library cannot be loaded, at the first call of any of its functions.
  ///
  /// - Parameter end: Gets what is wrong, and does not return.
  package static func endProcess(with end: @escaping @Sendable (TarnError) -> Never) {
    ending.withLock { $0 = end }
    unsafe ccurl_end_without { reason in
      let reason = unsafe reason.map { unsafe String(cString: $0).printable } ?? ""
      // Anything else is said of a file that the loader found.
      let isThere = !reason.contains("No such file")
      CurlLibrary.ending.withLock(\.self)?(
        TarnError(
          .io, "libcurl cannot be loaded: \(reason)",
          hint: isThere ? "put Debian's libcurl4 in the place of what it names" : "install Debian's libcurl4"))
    }
  }

  /// The library's version and those of what it is made of, as it is loaded now; why it cannot be loaded where it
  /// cannot.
  /// https://curl.se/libcurl/c/curl_version.html
  package static var version: String {
    if let fault = unsafe ccurl_fault() { return unsafe "cannot be loaded: \(String(cString: fault).printable)" }
    return unsafe String(cString: curl_version())
  }

  private static let result: CURLcode = {
    // With CURLOPT_NOSIGNAL libcurl leaves SIGPIPE to its user, and a TLS
    // connection that a server closed would end the process.
    // https://curl.se/libcurl/c/CURLOPT_NOSIGNAL.html
    _ = signal(SIGPIPE, SIG_IGN)
    return ccurl_global_init()
  }()

  /// Sets libcurl up.
  static func prepare() throws(TarnError) {
    guard result == CURLE_OK else { throw TarnError(.io, "libcurl cannot be initialised") }
  }
}
