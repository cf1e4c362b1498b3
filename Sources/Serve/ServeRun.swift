// `tarn serve`: opens versions, listens, and ends when it is told to.

package import Base
internal import Dispatch
internal import Foundation
internal import Lake

/// What to serve, and to whom.
package struct ServeOptions: Sendable {
  /// The versions; none for the newest sealed one of each name.
  package var versions: [String]
  /// An address of this machine.
  package var host: String
  package var port: Int
  /// Other names under which it is asked.
  package var names: [String]
  package var token: String?
  /// Origins whose pages may ask what programs ask.
  package var origins: [String]
  /// Columns of companions that are shown with hits; nil for all that are here.
  package var columns: [String]?
  /// Whether addresses that others reach are listened at without a token.
  package var isOpenToAll: Bool
  package var nprobe: Int
  package var threads: Int
  /// This program's file.
  package var tool: String
  package var limits = ServeLimits()
  /// Whether each request gets a line.
  package var isLogging = false
  /// How long answers that are under way get when the server is told to end.
  package var grace = Duration.milliseconds(700)

  package init(
    versions: [String], host: String, port: Int, names: [String], token: String?, origins: [String], columns: [String]?,
    isOpenToAll: Bool, nprobe: Int, threads: Int, tool: String
  ) {
    self.versions = versions
    self.host = host
    self.port = port
    self.names = names
    self.token = token
    self.origins = origins
    self.columns = columns
    self.isOpenToAll = isOpenToAll
    self.nprobe = nprobe
    self.threads = threads
    self.tool = tool
  }
}

/// A server of a lake's versions.
package struct ServeRun {
  private let root: String
  private let options: ServeOptions
  private let providers: ServeProviders
  private let cancellation: Cancellation

  /// Prepares to serve.
  ///
  /// - Parameters:
  ///   - root: The lake's directory.
  ///   - options: What, and to whom.
  ///   - providers: An encoder.
  ///   - cancellation: Ends it.
  package init(_ root: String, _ options: ServeOptions, providers: ServeProviders, cancellation: Cancellation) {
    self.root = root
    self.options = options
    self.providers = providers
    self.cancellation = cancellation
  }

  /// Serves until it is told to end.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - ready: Called once it listens, with the address and the versions.
  ///   - tell: Told of versions that come and go meanwhile or cannot be served, and of requests where that is wanted, one after the
  ///     other on a thread of its own; may block.
  /// - Throws: ``TarnError`` `.usage` for an address or a token that cannot be, `.notFound`, `.conflict`, `.inputsMissing` and
  ///   `.integrity` for versions that cannot be searched; `.interrupted` when it was told to end before it listened.
  package func run(
    ready: (_ address: String, _ versions: [ServedVersion]) -> Void, tell: @escaping @Sendable (ServeNews) -> Void
  ) throws {
    cancellation.listen()
    guard let host = HostAndPort(parsing: options.host.contains(":") ? "[\(options.host)]" : options.host) else {
      throw TarnError(
        .usage, "'\(options.host.printable)' is no address to listen at", hint: "e.g. --listen 127.0.0.1:7700")
    }
    guard host.isLoopback || options.token != nil || options.isOpenToAll else {
      throw TarnError(
        .usage, "\(options.host) can be reached from other machines, and everybody there could ask",
        hint: "give a --token-file, or say --no-auth if that is meant")
    }
    let accessPolicy = try AccessPolicy(names: options.names, token: options.token, origins: options.origins)
    let log = try ServeLog(tell)
    defer { log.close() }
    let registry = try VersionRegistry(
      options.versions, in: root, columns: options.columns, threads: options.threads, cancellation: cancellation,
      tell: { log.say($0) })
    defer { registry.close() }
    var limits = options.limits
    let shownCount = registry.versions.all.count { $0.columns != nil }
    limits.fit(openFiles: OpenFiles.room, holding: shownCount * RowColumns.mostFiles)
    let handler = try RequestHandler(
      { registry.versions }, root: root, tool: options.tool, nprobe: options.nprobe, providers: providers,
      limits: limits)
    defer { handler.close() }
    let server = try HttpServer(
      handler, accessPolicy, host: options.host, port: options.port, log: options.isLogging ? log : nil)
    try registry.watch()
    ready(server.address, registry.versions.all)
    let told = DispatchSemaphore(value: 0)
    let registration = cancellation.whenCancelled { told.signal() }
    told.wait()
    withExtendedLifetime(registration) {}
    server.stop(within: options.grace)
  }
}
