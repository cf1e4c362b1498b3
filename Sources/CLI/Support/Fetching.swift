// How this tool fetches: its name, its credentials, and rates as people write them.

internal import ArgumentParser
internal import Fetch
internal import Foundation

extension FetchConfiguration {
  /// The defaults, under this tool's name and with the environment's credentials.
  static var ofTool: FetchConfiguration {
    var configuration = FetchConfiguration()
    configuration.userAgent = "tarn/\(Tool.version)"
    let credentials = Credentials(environment: ProcessInfo.processInfo.environment)
    configuration.headers = credentials.headers(for:)
    return configuration
  }
}

extension RateTimetable: ExpressibleByArgument {
  package init?(argument: String) {
    self.init(parsing: argument) { ByteSize(argument: $0)?.byteCount }
  }
}
