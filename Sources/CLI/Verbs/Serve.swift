internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake
internal import Serve

/// `tarn serve`: searches and pages over HTTP.
struct Serve: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Serve versions over HTTP: searches for programs, pages for people. It reads, and writes nothing.",
    discussion: """
      Programs ask as clip-retrieval's own client does (/knn-service, /metadata, /indices-list), or for what verbs print with
      --json (/api/status, /api/search, …); /metrics is for Prometheus. People look at http://127.0.0.1:7700/. All paths are in
      docs/SERVE.md.

      Only this machine can ask, unless --listen names another of its addresses; that wants a token, or --no-auth. Names
      under which a proxy asks, which also does TLS, are given with --host.

      Hits have the columns of companions that are here, or those of --columns. With --encoder (docs/WORDS.md) words and pictures can be searched for.

      Without NAME the newest sealed version of each name is served; one whose files are lost or damaged is told and left
      out, as long as there are others. Who asks without naming a version is answered from the first
      that was named here, or else from what was sealed last. Within a second or two of being sealed a newer one
      takes its place; a revoked one is answered with 410, and rows that were excluded are not found any more.
      Told to end (SIGTERM, Ctrl-C, SIGHUP) it takes nobody in any more, gives answers under way --grace, and ends with 0; told
      twice, it ends at once.

      /healthz answers as long as the server lives, /readyz with 503 while neither a version that it is to serve nor the one
      before it can be searched, one that was named is revoked, or the catalog was not read for a minute; both want no
      token. Versions that come and go are told on standard error; with --log so is
      each request: time, address, method, path, status, bytes and milliseconds. docs/SERVE.md has a unit for systemd and a
      configuration for nginx.

      EXAMPLES
        tarn serve
        tarn serve laion@1 --nprobe 16
        tarn serve laion@1 --encoder 'python3 encode.py'
        tarn serve --listen 0.0.0.0:7700 --token-file /etc/tarn/token --host search.example.org

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The versions; NAME for the newest.", valueName: "NAME[@N]"), completion: .versions)
  var versions: [String] = []

  @Option(help: ArgumentHelp("The address and port to listen at.", valueName: "address"))
  var listen: String = "127.0.0.1:7700"

  @Option(help: ArgumentHelp("What who asks must present; others on this machine see it in ps.", valueName: "token"))
  var token: String?

  @Option(help: ArgumentHelp("A file of it: its first line.", valueName: "file"), completion: .file())
  var tokenFile: String?

  @Flag(help: "Let everybody ask who reaches the address.")
  var noAuth = false

  @Option(
    help: ArgumentHelp("A name under which it is asked besides its addresses; may be repeated.", valueName: "name"))
  var host: [String] = []

  @Option(
    help: ArgumentHelp(
      "An origin whose pages may ask what programs ask, e.g. https://search.example.org; may be repeated.",
      valueName: "url"))
  var allowOrigin: [String] = []

  @Option(help: ArgumentHelp("Lists visited for each query.", valueName: "n"))
  var nprobe: Int = 8

  @Option(help: ArgumentHelp("Threads of a search (default: TARN_THREADS, else all processors).", valueName: "n"))
  var threads: Int?

  @Flag(help: "Print a line for each request to standard error; no query and no token is in it.")
  var log = false

  @Option(
    help: ArgumentHelp(
      "How long answers under way may take once it is told to end, 0 to 10m (default: 0.7s).", valueName: "duration"))
  var grace: TimeSpan?

  @OptionGroup var shown: ColumnOptions

  @OptionGroup(title: EncoderOptions.title) var encoding: EncoderOptions

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func validate() throws {
    guard [token != nil, tokenFile != nil, noAuth].count(where: { $0 }) <= 1 else {
      throw ValidationError("--token, --token-file and --no-auth exclude each other.")
    }
    guard nprobe >= 1 else { throw ValidationError("--nprobe is at least 1.") }
    if let grace, grace.duration > .seconds(600) { throw ValidationError("--grace is 0 to 10m.") }
    if let threads, !(1...4096).contains(threads) { throw ValidationError("--threads is 1 to 4096.") }
    guard Self.place(listen) != nil else {
      throw ValidationError("--listen is ADDRESS:PORT, e.g. 127.0.0.1:7700 or [::1]:7700.")
    }
  }

  private static func place(_ text: String) -> (host: String, port: Int)? {
    guard let place = HostAndPort(parsing: text), let port = place.port else { return nil }
    return (place.name, port)
  }

  private func secret() throws -> String? {
    guard let tokenFile else { return token }
    let bytes: [UInt8]
    do {
      bytes = try Disk.contents(of: tokenFile, atMost: 1 << 16)
    } catch {
      throw TarnError(
        .usage, "cannot read the token: \(error.message)", hint: "the first line of the file is the token")
    }
    var info = stat()
    if stat(tokenFile, &info) == 0, info.st_mode & 0o004 != 0 {
      global.note(
        "tarn: warning: every user of this machine can read the token in \(tokenFile); `chmod 600 \(tokenFile)`")
    }
    let text = String(decoding: bytes, as: UTF8.self)
    return String(text.prefix { !$0.isNewline })
  }

  /// Says what the server has to say.
  private static func say(_ news: ServeNews, isQuiet: Bool) {
    switch news {
    case .request(let line): Output.diagnostic(line)
    case .changed(let text): if !isQuiet { Output.diagnostic("tarn: \(text)") }
    case .fault(let text): Output.warn(text)
    }
  }

  func run() throws {
    guard let place = Self.place(listen) else { preconditionFailure("checked by validate()") }
    var options = ServeOptions(
      versions: versions, host: place.host, port: place.port, names: host, token: try secret(),
      origins: allowOrigin, columns: try shown.names, isOpenToAll: noAuth, nprobe: nprobe,
      threads: try threads ?? ThreadCount.ofProcess(),
      tool: try Tool.executablePath())
    options.isLogging = log
    if let grace { options.grace = grace.duration }
    Interruption.lengthenGrace(by: options.grace)
    let encoder = encoding.isNamed ? try encoding.make() : nil
    defer { encoder?.close(atOnce: true) }
    let run = ServeRun(
      try global.lakeRoot(), options, providers: ServeProviders(encoder: encoder, normalises: encoding.normalise),
      cancellation: global.cancellation)
    try run.run(
      ready: { address, versions in
        if global.json {
          Output.json([
            "address": .string(address), "versions": .array(versions.map { .string("\($0.name)") }),
          ])
          Output.flush()
        } else {
          let names = versions.isEmpty ? "no version" : versions.map { "\($0.name)" }.joined(separator: ", ")
          global.note("http://\(address)/ serves \(names); Ctrl-C ends it")
        }
      }, tell: { [isQuiet = global.quiet] in Self.say($0, isQuiet: isQuiet) })
  }
}
