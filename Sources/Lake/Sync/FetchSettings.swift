// How this tool fetches: its name, its credentials, and limits as people set them.

internal import Base
internal import Catalog
internal import Fetch
internal import Foundation
internal import Synchronization

extension FetchConfiguration {
  /// The defaults, under this tool's name and with the environment's credentials.
  package static var ofTool: FetchConfiguration {
    var configuration = FetchConfiguration()
    configuration.userAgent = "tarn/\(Tool.version)"
    let environment = ProcessInfo.processInfo.environment
    // As OpenSSL and curl name it; libcurl by itself looks at neither.
    configuration.certificateAuthorityPath =
      ["SSL_CERT_FILE", "CURL_CA_BUNDLE"].lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
    let credentials = Credentials(environment: environment)
    configuration.headers = credentials.headers(for:)
    configuration.logins = credentials.login(for:)
    configuration.loginFault = credentials.netrcFault
    configuration.hub = credentials.hub
    configuration.variable = { environment[$0] }
    configuration.commandEnvironment = environment.filter { !Credentials.names.contains($0.key) }
    configuration.s3 = S3Settings(environment: environment)
    return configuration
  }

  /// Follows the lake's own limit (`tarn limit`), which counts before what this
  /// command was started with.
  package mutating func followLimit(of catalog: LakeCatalog) {
    let known = Mutex<(readAt: ContinuousClock.Instant, table: RateTimetable?)?>(nil)
    liveBandwidth = { [weak catalog] in
      known.withLock { known in
        let now = ContinuousClock.now
        if let known, now - known.readAt < .seconds(1) { return known.table }
        // A catalog that cannot be read now is no reason to change the rate.
        let text = (try? catalog?.setting(.bwlimit)) ?? nil
        let table = text.flatMap { RateTimetable(text: $0) }?.shared(among: catalog?.fetcherCount ?? 1)
        known = (now, table)
        return table
      }
    }
  }
}

extension RateTimetable {
  /// Reads a rate or a timetable as people write it; nil for what is none.
  package init?(text: String) {
    self.init(parsing: text) { ByteSize(parsing: $0)?.byteCount }
  }
}
