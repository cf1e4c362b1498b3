// S9: names and passwords of a netrc file, as curl reads them, and who gets them. Here
// 127.0.0.2 stands for the Internet, which a test does not ask.

import Base
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

@Suite struct NetrcFileTests {
  private func basic(_ text: String) -> String { "Basic " + Data(text.utf8).base64EncodedString() }

  private func authorization(_ text: String, for host: String = "host.example") throws -> String? {
    try NetrcFile(Array(text.utf8)).authorization(for: host)
  }

  @Test(arguments: [
    ("machine host.example login u password p", "u:p"),
    ("machine host.example\n\tlogin u\n\tpassword p\n", "u:p"),
    ("MACHINE Host.Example LOGIN u\r\nPASSWORD p\r\n", "u:p"),
    ("machine host.example password p", ":p"), ("machine host.example login token", "token:"),
    ("machine host.example account a login u password p", "u:p"),
    // What is said first of a machine counts.
    ("machine host.example login u password p\nmachine host.example login v password q", "u:p"),
    ("machine other.example login v password q machine host.example login u password p", "u:p"),
    // Quotes, as curl has them.
    (#"machine host.example login "a user" password "p \"q\" \\ r""#, #"a user:p "q" \ r"#),
    (#"machine host.example login u password "#, "u:"), (#"machine host.example login u password """#, "u:"),
    (#"machine host.example login u password p"q"#, #"u:p"q"#),
    // Comments.
    ("# machine host.example login v password q\nmachine host.example login u # v\npassword p", "u:p"),
    // A macro goes to the next empty line.
    ("macdef init\nmachine host.example login v password q\n\nmachine host.example login u password p", "u:p"),
    ("machine host.example login u password p\nmacdef init\nlogin v\n \npassword q", "u:p"),
    ("machine host.example login ü password é", "ü:é"),
  ])
  func s9ReadsWhatCurlReads(text: String, expected: String) throws {
    let found = try authorization(text)
    #expect(found == basic(expected), "\(text)")
  }

  @Test(arguments: [
    "", "machine", "machine host.example", "machine host.example login", "login u password p",
    "machine host.example.org login u password p", "machine example login u password p",
    "default login u password p", "machine other.example login u password p default login v password q",
    "machine host.example default login u password p", "machine \"\" login u password p", "\0\0\0",
    "macdef init\nmachine host.example login u password p",
  ])
  func s9AMachineThatIsNotNamedGetsNothing(text: String) throws {
    let found = try authorization(text)
    #expect(found == nil, "\(text)")
  }

  @Test(arguments: [
    ("machine host.example login u password \"p", 1), ("\n\nmachine \"", 3), ("machine host.example login \"u\\", 1),
    ("machine host.example login u\npassword \"a\\nb\"", 2), ("machine host.example login \u{1}u", 1),
    ("machine host.example login u password p\nmachine b login \"", 2),
  ])
  func aFaultEndsTheReading(text: String, line: Int) {
    let fault = #expect(throws: NetrcFile.Fault.self) { try NetrcFile(Array(text.utf8)) }
    #expect(fault?.line == line)
  }

  @Test func noBytesEndTheProcess() {
    var generator = SplitMix64(seed: 5)
    let words = ["machine ", "login ", "password ", "default ", "macdef ", "\"", "\\", "#", "\n", " ", "a", "\0"]
    for _ in 0..<2_000 {
      let text = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
        words.randomElement(using: &generator) ?? ""
      }.joined()
      _ = try? NetrcFile(Array(text.utf8))
      _ = try? NetrcFile((0..<40).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
    }
  }

  @Test func nothingShowsWhatItSays() throws {
    let file = try NetrcFile(Array("machine host.example login planted-user password planted-secret".utf8))
    var shown = "\(file) \(String(reflecting: file))"
    dump(file, to: &shown)
    #expect(!shown.contains("planted") && !shown.contains(basic("planted-user:planted-secret")))
  }

  @Test func s9AFileThatOthersCanReadDoesNotCount() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/.netrc"
    try Data("machine host.example login u password p".utf8).write(to: URL(fileURLWithPath: path))
    func credentials(_ environment: [String: String]) -> Credentials { Credentials(environment: environment) }
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    #expect(credentials(["HOME": directory.path]).login(for: "host.example") == basic("u:p"))
    #expect(credentials(["HOME": directory.path]).netrcFault == nil)
    // How a user keeps it from one command.
    #expect(credentials(["HOME": directory.path, "NETRC": "/dev/null"]).login(for: "host.example") == nil)
    for mode in [0o640, 0o604, 0o620] {
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
      let refused = credentials(["HOME": directory.path])
      #expect(refused.login(for: "host.example") == nil && refused.netrcFault?.contains("chmod 600") == true)
      // Who names it means it, as with a file that a cluster lays into a container.
      #expect(credentials(["HOME": "/none", "NETRC": path]).login(for: "host.example") == basic("u:p"))
    }
    #expect(credentials(["HOME": directory.path + "/none"]).netrcFault == nil)
    #expect(credentials(["NETRC": directory.path + "/none"]).netrcFault?.contains("NETRC") == true)
    let long = String(repeating: "#", count: NetrcFile.mostByteCount + 1)
    try Data(long.utf8).write(to: URL(fileURLWithPath: path))
    #expect(credentials(["NETRC": path]).netrcFault?.contains("more than") == true)
    try Data("machine \"planted".utf8).write(to: URL(fileURLWithPath: path))
    let fault = try #require(credentials(["NETRC": path]).netrcFault)
    #expect(fault.contains("line 1") && !fault.contains("planted"))
  }
}

@Suite struct NetrcTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 3_000)
  private static let login = "Basic " + Data("u:planted-secret".utf8).base64EncodedString()

  init() throws { directory = try TemporaryDirectory() }

  /// A configuration whose netrc file names every host.
  private func confiding(_ configuration: FetchConfiguration = quickConfiguration()) -> FetchConfiguration {
    var configuration = configuration
    configuration.logins = { _ in Self.login }
    return configuration
  }

  @Test func s9ALoginGoesToItsMachineAndNotWhereThatRedirects() async throws {
    let elsewhere = try HostileServer { [shard] in .file(shard, for: $0) }
    let elsewhereURL = elsewhere.url("/real.npy")
    let first = try HostileServer { [shard] request in
      switch request.target {
      case "/here.npy": .answer(302, headers: ["Location: /real.npy"])
      case "/away.npy": .answer(302, headers: ["Location: \(elsewhereURL)"])
      default: .file(shard, for: request)
      }
    }
    let run = await fetch(
      [
        makeRequest(1, in: directory, from: [first.url("/here.npy")]),
        makeRequest(2, in: directory, from: [first.url("/away.npy")]),
      ], configuration: confiding())
    #expect(run.shard(1) != nil && run.shard(2) != nil)
    #expect(first.requests.count == 3)
    #expect(first.requests.allSatisfy { $0.value("authorization") == Self.login })
    #expect(elsewhere.requests.map { $0.value("authorization") } == [nil])
    #expect(!"\(run.events)".contains("planted") && !"\(run.events)".contains(Self.login))
  }

  @Test func everyKindOfQuestionIsAuthorised() async throws {
    let server = try HostileServer { [shard] in .file(shard, for: $0) }
    let (url, configuration) = (server.url("/a.npy"), confiding())
    try await Prober(configuration: configuration).run(
      [
        ProbeTarget(
          shardID: 1, mirror: FetchMirror(id: 1, url: url),
          kind: ProbeTarget.Kind(format: .npy, dimension: nil, elementType: nil))
      ]
    ) { _ in }
    let ranges = try RangeReader(configuration: configuration, isCancelled: { false })
    #expect(try ranges.read(10..<20, of: shard.count, from: FetchMirror(id: 1, url: url)) == Array(shard[10..<20]))
    let whole = try PlainReader(
      configuration: configuration, patience: .zero, clock: { .now }, isCancelled: { false }, onTrouble: { _, _, _ in })
    #expect(try whole.contents(of: url, atMost: 1 << 20) == shard)
    #expect(server.requests.count >= 4)
    #expect(server.requests.allSatisfy { $0.value("authorization") == Self.login })
  }

  @Test func aTokenOfTheOriginAndANameInTheAddressGoFirst() async throws {
    let server = try HostileServer { [shard] in .file(shard, for: $0) }
    let origin = "http://127.0.0.1:\(server.port)"
    var configuration = confiding()
    configuration.headers = { $0 == origin ? ["Authorization: Bearer token"] : [] }
    _ = await fetch([makeRequest(1, in: directory, from: [server.url("/a.npy")])], configuration: configuration)
    let named = "http://other:name@127.0.0.1:\(server.port)/b.npy"
    _ = await fetch([makeRequest(2, in: directory, from: [named])], configuration: confiding())
    let seen = server.requests.map { $0.fields.filter { $0.name == "authorization" }.map(\.value) }
    #expect(seen == [["Bearer token"], ["Basic " + Data("other:name".utf8).base64EncodedString()]])
  }

  @Test func s9NoPasswordGoesOutInTheClear() async throws {
    // An address that is written out is judged before it is asked.
    let outside = try HostileServer(onLoopback: 2) { [shard] in .file(shard, for: $0) }
    let run = await fetch(
      [makeRequest(1, in: directory, from: [outside.url("/a.npy")])], configuration: confiding(outsideConfiguration()))
    #expect(run.shard(1) != nil)
    #expect(outside.requests.map { $0.value("authorization") } == [nil])
    // A name is judged by what it leads to, and asked without.
    let isOpen = Mutex(true)
    let server = try HostileServer { [shard] request in
      isOpen.withLock(\.self) ? .file(shard, for: request) : .answer(401)
    }
    let url = "http://localhost:\(server.port)/b.npy"
    var configuration = confiding()
    configuration.addressScope = { $0 == "localhost" ? nil : $0 == "127.0.0.1" ? .world : AddressScope(of: $0) }
    let without = await fetch([makeRequest(2, in: directory, from: [url])], configuration: configuration)
    #expect(without.shard(2) != nil)
    #expect(server.requests.map { $0.value("authorization") } == [nil])
    #expect(server.requests.allSatisfy { request in !request.fields.contains { $0.name == "authorization" } })
    // Only who wants a name and a password is a matter of the netrc file.
    isOpen.withLock { $0 = false }
    let wanting = await fetch([makeRequest(5, in: directory, from: [url])], configuration: configuration)
    #expect(wanting.failure(5)?.hint?.contains("goes in the clear to no public address") == true)
    isOpen.withLock { $0 = true }
    configuration.addressScope = { $0 == "localhost" ? nil : AddressScope(of: $0) }
    let taken = await fetch([makeRequest(3, in: directory, from: [url])], configuration: configuration)
    #expect(taken.shard(3) != nil)
    #expect(server.requests.map { $0.value("authorization") } == [nil, nil, Self.login])
    // A proxy hears what is said in the clear, and passes on what is open to everybody.
    configuration.proxy = "http://127.0.0.1:\(server.port)"
    let throughProxy = await fetch([makeRequest(4, in: directory, from: [url])], configuration: configuration)
    #expect(throughProxy.shard(4) != nil)
    #expect(server.requests.map { $0.value("authorization") } == [nil, nil, Self.login, nil])
  }

  @Test func s9NothingOfADocumentIsAuthorised() async throws {
    let asked = Mutex<[String]>([])
    var configuration = outsideConfiguration()
    configuration.logins = { host in
      asked.withLock { $0.append(host) }
      return Self.login
    }
    configuration.attemptsPerMirror = 1
    for isOfDocument in [true, false] {
      // Nobody listens there.
      let mirror = FetchMirror(id: 1, url: "https://127.0.0.2:1/a.npy", isOfDocument: isOfDocument)
      try await Prober(configuration: configuration).run([ProbeTarget(shardID: 1, mirror: mirror)]) { _ in }
      #expect(asked.withLock { $0.isEmpty } == isOfDocument)
    }
  }

  @Test func whoIsRefusedIsToldHowCredentialsAreGiven() async throws {
    let server = try HostileServer { _ in .answer(401) }
    let url = server.url("/a.npy")
    let run = await fetch([makeRequest(1, in: directory, from: [url])])
    #expect(run.failure(1)?.hint?.contains("machine 127.0.0.1 login") == true)
    #expect(run.failure(1)?.hint?.contains("~/.netrc") == true)
    let wrong = await fetch([makeRequest(2, in: directory, from: [url])], configuration: confiding())
    #expect(wrong.failure(2)?.hint?.contains("machine 127.0.0.1") == true)
    var faulty = quickConfiguration()
    faulty.loginFault = "~/.netrc does not count"
    let open = await fetch([makeRequest(3, in: directory, from: [url])], configuration: faulty)
    #expect(open.failure(3)?.hint == "~/.netrc does not count")
    let lake = try TemporaryLake()
    let registration = SourceRegistration(
      name: "images", modality: .image, dimension: nil, elementType: nil, place: .template(url, count: 1), mirrors: [],
      reconstructed: [], sizes: nil, digests: nil, tree: nil)
    let error = await #expect(throws: TarnError.self) {
      _ = try await registration.completed(
        for: lake.catalog, configuration: quickConfiguration(), cancellation: Cancellation())
    }
    #expect(error?.message.contains("401") == true)
    #expect(error?.hint?.contains("machine 127.0.0.1 login") == true)
  }

  @Test(arguments: [
    "http://alice:secret@files.example:8080/{ordinal}.npy", "https://{env:U}:{env:P}@files.example/{ordinal}.npy",
  ])
  func anAddressWithAPasswordIsRefusedWithAWayThatWorks(url: String) {
    let error = #expect(throws: TarnError.self) { try URLTemplate(parsing: url) }
    #expect(error?.hint?.contains("machine files.example login") == true)
    #expect(error.map { "\($0)".contains("secret") } == false)
  }
}
