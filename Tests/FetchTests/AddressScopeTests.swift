// S6: a redirect never leads further inside than where it comes from. Here
// 127.0.0.2 stands for the Internet, which a test does not ask.

import Base
import Fetch
import Foundation
import Synchronization
import Testing
import TestSupport

@Suite struct AddressScopeTests {
  @Test(arguments: [
    ("9.9.9.9", AddressScope.world), ("172.15.0.1", .world), ("172.32.0.1", .world), ("192.169.0.1", .world),
    ("100.128.0.1", .world), ("[2606:4700::1111]", .world), ("2002:909:909::1", .world), ("64:ff9b::909:909", .world),
    ("10.1.2.3", .site), ("172.16.0.1", .site), ("172.31.255.255", .site), ("192.168.1.1", .site),
    ("100.64.0.1", .site), ("fd12::1", .site), ("fec0::1", .site), ("::ffff:10.0.0.1", .site),
    ("127.0.0.1", .machine), ("127.9.9.9", .machine), ("0.0.0.0", .machine), ("::1", .machine), ("::", .machine),
    ("::ffff:127.0.0.1", .machine), ("::127.0.0.1", .machine), ("2002:7f00:1::", .machine),
    ("64:ff9b::7f00:1", .machine),
    ("169.254.169.254", .link), ("fe80::1%eth0", .link), ("224.0.0.1", .link), ("255.255.255.255", .link),
    ("ff02::1", .link), ("fd00:ec2::254", .link), ("168.63.129.16", .link), ("::ffff:169.254.169.254", .link),
    // Teredo, translation within a network, ISATAP, stateless translation.
    ("2001::1", .link), ("2001:0:53aa:64c:0:fbff:f5fe:fdfc", .link), ("2001:200::1", .world),
    ("64:ff9b:1::909:909", .site), ("64:ff9b:1:7f00:1::", .machine), ("64:ff9b:1::7f00:1", .machine),
    ("64:ff9b:1::a9fe:a9fe", .link), ("2606:4700::5efe:10.0.0.1", .site), ("2606:4700::200:5efe:127.0.0.1", .machine),
    ("::ffff:0:127.0.0.1", .machine), ("::ffff:0:9.9.9.9", .world),
    // What no server has.
    ("192.0.2.1", .link), ("198.51.100.7", .link), ("203.0.113.9", .link), ("2001:db8::1", .link), ("100::1", .link),
    // Other ways to write them, which resolvers take.
    ("2130706433", .machine), ("0x7f000001", .machine), ("017700000001", .machine), ("127.1", .machine),
    ("0x7f.1", .machine), ("0251.0376.0251.0376", .link), ("10.1", .site), ("127.0.0.1.", .machine),
    ("3232235777", .site), ("9.9.2313", .world),
    ("localhost", .machine), ("LOCALHOST.", .machine), ("a.localhost", .machine),
    ("metadata.google.internal", .link),
  ])
  func s6KnowsWhereAnAddressLies(text: String, scope: AddressScope) {
    #expect(AddressScope(of: text) == scope)
  }

  @Test(arguments: ["a.example", "", "1.2.3.4.5", "localhost.example", "127.0.0.1.example"]) func aNameLiesNowhereYet(
    text: String
  ) {
    #expect(AddressScope(of: text) == nil)
  }

  /// Who is exempted goes straight, and is judged: of proxies the environment exempts rather too many than too few.
  @Test(arguments: [
    ("host.example", "*", true), ("host.example", "a.example, example", true), ("host.example", ".example", true),
    ("HOST.example.", "host.example", true), ("[::1]", "::1", true), ("9.9.9.9", "9.0.0.0/8", true),
    ("localhost", "127.0.0.0/8", true), ("host.example", "", false), ("host.example", "9.0.0.0/8", false),
    ("host.example", "other.example host.example.org", false), ("9.9.9.9", "9.9.9.8,127.0.0.1", false),
  ])
  func s6WhoIsExemptedFromProxiesIsJudged(host: String, list: String, isExempt: Bool) {
    #expect(FetchConfiguration.mayExempt(host, list) == isExempt)
  }

  @Test func s6NothingReachesFurtherInsideThanItIs() {
    for scope in AddressScope.allCases {
      #expect(scope.reaches(scope))
      #expect(scope.reaches(.world))
      #expect(scope == .link || !scope.reaches(.link))
      #expect(scope == .world || !AddressScope.world.reaches(scope))
    }
    #expect(AddressScope.machine.reaches(.site) && !AddressScope.site.reaches(.machine))
  }
}

@Suite struct InwardRedirectTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 3_000)

  init() throws { directory = try TemporaryDirectory() }

  /// A server on the Internet that redirects to `location`.
  private func outside(_ location: String) throws -> HostileServer {
    try HostileServer(onLoopback: 2) { _ in .answer(302, headers: ["Location: \(location)"]) }
  }

  @Test(arguments: ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
  func s6ARedirectFromOutsideToThisMachineIsRefused(host: String) async throws {
    let inside = try HostileServer { [shard] in .file(shard, for: $0) }
    let first = try outside("http://\(host):\(inside.port)/latest/meta-data")
    let run = await fetch(
      [makeRequest(in: directory, from: [first.url("/a.npy")])], configuration: outsideConfiguration())
    #expect(run.failure()?.code == .refused)
    #expect(run.failure()?.message.contains("a redirect to") == true, "\(String(describing: run.failure()))")
    #expect(inside.requests.isEmpty && inside.connectionCount == 0)
    #expect(run.attempts.map(\.outcome) == [.refused])
  }

  @Test(arguments: ["169.254.169.254", "[fe80::1]", "10.0.0.1", "[fd00:ec2::254]"])
  func s6ARedirectFromOutsideToWhatCloudsTellIsRefusedAtOnce(host: String) async throws {
    let first = try outside("http://\(host)/latest/meta-data")
    let run = await fetch(
      [makeRequest(in: directory, from: [first.url("/a.npy")])], configuration: outsideConfiguration())
    #expect(run.failure()?.code == .refused)
    #expect(run.attempts.count == 1)
  }

  @Test func s6AConnectionThatIsThereAlreadyIsNoWayAround() async throws {
    let inside = try HostileServer { [shard] in .file(shard, for: $0) }
    let first = try outside("http://localhost:\(inside.port)/secret")
    var configuration = outsideConfiguration()
    configuration.jobs = 1
    let run = await fetch(
      [
        makeRequest(1, in: directory, from: ["http://localhost:\(inside.port)/own.npy"]),
        makeRequest(2, in: directory, from: [first.url("/a.npy")]),
      ], configuration: configuration)
    #expect(run.shard(1) != nil)
    #expect(run.failure(2)?.code == .refused)
    #expect(inside.requests.map(\.target) == ["/own.npy"])
  }

  /// A name of two addresses, the one inside and denied, the other out in the world.
  @Test func s6AnAddressThatWasDeniedIsForgottenOnceAnotherIsTaken() async throws {
    let other = try HostileServer { [shard] request in
      request.precedingCount == 0
        ? .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
        : .file(shard, for: request)
    }
    let first = try outside("http://localhost:\(other.port)/a.npy")
    var configuration = quickConfiguration()
    configuration.addressScope = {
      ["localhost", "127.0.0.1", "127.0.0.2"].contains($0) ? .world : AddressScope(of: $0)
    }
    let run = await fetch([makeRequest(in: directory, from: [first.url("/a.npy")])], configuration: configuration)
    #expect(run.attempts.map(\.outcome) == [.temporary, .succeeded], "\(run.attempts.map(\.errorText))")
  }

  @Test func s6AMirrorsOwnAddressMayBeAnywhereAndItsRedirectsAsFarInside() async throws {
    let second = try HostileServer { [shard] in .file(shard, for: $0) }
    let secondURL = second.url("/real.npy")
    let outer = try HostileServer(onLoopback: 2) { [shard] in .file(shard, for: $0) }
    let outerURL = outer.url("/real.npy")
    let first = try HostileServer { request in
      .answer(302, headers: ["Location: \(request.target == "/out.npy" ? outerURL : secondURL)"])
    }
    let run = await fetch(
      [
        makeRequest(1, in: directory, from: [first.url("/in.npy")]),
        makeRequest(2, in: directory, from: [first.url("/out.npy")]),
      ], configuration: outsideConfiguration())
    #expect(run.shard(1) != nil && run.shard(2) != nil)
  }

  @Test func s6TheNextMirrorIsAskedInsteadAndAProbeSaysSo() async throws {
    let inside = try HostileServer { [shard] in .file(shard, for: $0) }
    let first = try outside(inside.url("/secret"))
    let good = try HostileServer(onLoopback: 2) { [shard] in .file(shard, for: $0) }
    let run = await fetch(
      [makeRequest(in: directory, from: [first.url("/a.npy"), good.url("/a.npy")])],
      configuration: outsideConfiguration())
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    let answer = Mutex<ProbeFinding.Answer?>(nil)
    try await Prober(configuration: outsideConfiguration()).run(
      [ProbeTarget(shardID: 1, mirror: FetchMirror(id: 1, url: first.url("/a.npy")))]
    ) { finding in answer.withLock { $0 = finding.answer } }
    let cause: String? = if case .faulty(let cause) = answer.withLock({ $0 }) { cause } else { nil }
    #expect(cause?.contains("a redirect to 127.0.0.1") == true)
    #expect(inside.requests.isEmpty)
  }
}
