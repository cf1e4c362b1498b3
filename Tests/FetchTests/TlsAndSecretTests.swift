// TLS with a certificate authority made for the test, servers that drip, and
// secrets looked for in everything a sync leaves behind and says.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

/// Runs openssl to its end.
private func openssl(_ arguments: String, in directory: String) throws {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
  process.arguments = arguments.split(separator: " ").map(String.init)
  process.currentDirectoryURL = URL(fileURLWithPath: directory)
  process.standardError = FileHandle.nullDevice
  process.standardOutput = FileHandle.nullDevice
  process.standardInput = FileHandle.nullDevice
  try process.run()
  process.waitUntilExit()
  try #require(process.terminationStatus == 0, "openssl \(arguments)")
}

/// `openssl s_server` serving a directory on a port that the kernel picks.
private final class TlsServer {
  let port: Int
  private let process = Process()

  init(_ directory: String, certificate: String) throws {
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
    process.arguments = [
      "s_server", "-accept", "127.0.0.1:0", "-cert", "\(certificate).pem", "-key", "\(certificate).key", "-WWW",
    ]
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    process.standardInput = FileHandle.nullDevice
    try process.run()
    var text = ""
    // > ACCEPT 127.0.0.1:40123
    while !text.contains("\n") || !text.contains("ACCEPT") {
      let piece = output.fileHandleForReading.availableData
      if piece.isEmpty { break }
      text += String(decoding: piece, as: UTF8.self)
    }
    let line = text.split(separator: "\n").first { $0.hasPrefix("ACCEPT") }
    port = try #require(line?.split(separator: ":").last.flatMap { Int($0) }, "no port in: \(text)")
  }

  deinit {
    // It may have inherited a mask that holds back SIGTERM.
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}

@Suite(.serialized) struct TlsTests {
  let directory: TemporaryDirectory
  let served: TemporaryDirectory
  let shard = makeShard(rows: 3_000)
  private let newKey = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"

  init() throws {
    directory = try TemporaryDirectory()
    served = try TemporaryDirectory()
    try Data(shard).write(to: URL(fileURLWithPath: served.path + "/a.npy"))
    try openssl("req -x509 \(newKey) -keyout ca.key -out ca.pem -days 2 -subj /CN=test", in: served.path)
  }

  /// A certificate for a subject alternative name, signed by the test's authority.
  private func makeCertificate(_ name: String, for subject: String) throws {
    try openssl("req \(newKey) -keyout \(name).key -out \(name).csr -subj /CN=server", in: served.path)
    try Data("subjectAltName=\(subject)".utf8).write(to: URL(fileURLWithPath: "\(served.path)/\(name).ext"))
    try openssl(
      "x509 -req -in \(name).csr -CA ca.pem -CAkey ca.key -CAcreateserial -out \(name).pem -days 2 -extfile \(name).ext",
      in: served.path)
  }

  private func configuration(trusting: Bool) -> FetchConfiguration {
    var configuration = quickConfiguration()
    if trusting { configuration.certificateAuthorityPath = served.path + "/ca.pem" }
    return configuration
  }

  @Test func fetchesOverTlsFromAServerWhoseAuthorityIsTrusted() async throws {
    try makeCertificate("good", for: "IP:127.0.0.1")
    let server = try TlsServer(served.path, certificate: "good")
    let request = makeRequest(in: directory, from: ["https://127.0.0.1:\(server.port)/a.npy"])
    let run = await fetch([request], configuration: configuration(trusting: true))
    #expect(bytes(at: try #require(run.shard(), "\(String(describing: run.failure()))").path) == shard)
  }

  @Test func s6RefusesAnAuthorityThatIsNotTrustedAndDoesNotAskAgain() async throws {
    try makeCertificate("good", for: "IP:127.0.0.1")
    let server = try TlsServer(served.path, certificate: "good")
    let request = makeRequest(in: directory, from: ["https://127.0.0.1:\(server.port)/a.npy"])
    let run = await fetch([request], configuration: configuration(trusting: false))
    #expect(run.failure()?.code == .tls)
    #expect(run.attempts.count == 1)
    #expect(try directory.contents() == [])
  }

  @Test func s6RefusesACertificateOfAnotherHost() async throws {
    try makeCertificate("other", for: "DNS:elsewhere.example")
    let server = try TlsServer(served.path, certificate: "other")
    let request = makeRequest(in: directory, from: ["https://127.0.0.1:\(server.port)/a.npy"])
    let run = await fetch([request], configuration: configuration(trusting: true))
    #expect(run.failure()?.code == .tls)
  }
}

@Suite struct DripTests {
  @Test func r14GivesUpAServerThatDripsAndTakesTheNextMirror() async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 3_000)
    let server = try HostileServer { request in
      guard request.target == "/drip" else { return .file(shard, for: request) }
      let head = ScriptedAnswer.answer(200, framing: .length(shard.count), then: .run {}).steps
      let drops = shard.prefix(2_000).flatMap { [ScriptedAnswer.Step.send([$0]), .run { usleep(5_000) }] }
      return ScriptedAnswer(head + drops)
    }
    var configuration = quickConfiguration()
    configuration.watch.stallTimeout = .milliseconds(200)
    configuration.watch.stallByteCount = 10_000
    configuration.attemptsPerMirror = 1
    let run = await fetch(
      [makeRequest(in: directory, from: [server.url("/drip"), server.url("/whole")])], configuration: configuration)
    #expect(run.shard()?.mirrorID == 2)
    #expect(run.attempts.map(\.outcome) == [.temporary, .succeeded])
  }
}

@Suite struct SecretTests {
  /// Looks for the secret in every file below a directory.
  private func filesHolding(_ secret: String, below root: String) -> [String] {
    let files = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
    return files.filter { file in
      FileManager.default.contents(atPath: "\(root)/\(file)")?.range(of: Data(secret.utf8)) != nil
    }
  }

  @Test func s4NoFailureLeavesASecretBehindOrSaysIt() async throws {
    let secret = "planted-5eCr3t"
    let shard = makeShard(rows: 2_000)
    let elsewhere = try HostileServer { _ in .answer(503, body: Array("tell \(secret)".utf8)) }
    let elsewhereURL = elsewhere.url("/x?token=\(secret)")
    let answers: [@Sendable (HostileServer.Request) -> ScriptedAnswer] = [
      { _ in .answer(401, headers: ["WWW-Authenticate: Basic realm=\"\(secret)\""], body: Array(secret.utf8)) },
      { _ in .answer(403, body: Array(secret.utf8)) },
      { _ in .answer(404, body: Array(secret.utf8)) },
      { _ in .answer(500, body: Array(secret.utf8)) },
      { _ in .answer(302, headers: ["Location: \(elsewhereURL)"]) },
      { _ in .answer(302, headers: ["Location: http://user:\(secret)@127.0.0.1:1/"]) },
      { _ in .answer(302, headers: ["Location: ftp://user:\(secret)@127.0.0.1:1/"]) },
      { _ in .answer(200, body: Array("<html>".utf8)) },
      { .answer($0.rangeStart == nil ? 200 : 503, body: Array(shard[..<9_000]), framing: .length(shard.count)) },
      { _ in ScriptedAnswer([.reset]) },
      { .file(shard, for: $0) },
    ]
    let server = try HostileServer { request in
      let number = Int(request.target.dropFirst().prefix { $0 != "." }) ?? 0
      return answers[number](request)
    }
    let lake = try TemporaryLake()
    let source = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["only"],
        shards: answers.indices.map { .init(name: "\($0).npy", urls: [server.url("/\($0).npy")]) }))
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    options.fetch.refusalsPerHost = .max
    let origin = "http://127.0.0.1:\(server.port)"
    options.fetch.headers = { $0 == origin ? ["Authorization: Bearer \(secret)"] : [] }
    let said = Mutex("")
    let summary = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { event in
      said.withLock { $0 += "\(event)\n" }
    }.run()
    _ = try await ProbeRun(
      lake.catalog, source, ordinals: nil, concurrency: 4, configuration: options.fetch,
      cancellation: Cancellation(), report: { _, _ in }
    ).run()
    #expect(summary.fetchedCount == 1)
    #expect(summary.failures.count == answers.count - 1)
    // The secret did travel: to the mirror, and to nobody else.
    #expect(server.requests.allSatisfy { $0.value("authorization") == "Bearer \(secret)" })
    #expect(!elsewhere.requests.isEmpty)
    #expect(elsewhere.requests.allSatisfy { $0.value("authorization") == nil })
    #expect(!said.withLock { $0 }.contains(secret))
    #expect(!"\(summary)".contains(secret))
    #expect(filesHolding(secret, below: lake.root) == [])
    let command = FileManager.default.contents(atPath: "/proc/self/cmdline") ?? Data()
    #expect(command.range(of: Data(secret.utf8)) == nil)
  }
}
