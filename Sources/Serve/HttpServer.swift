// The sockets: one that listens, and a loop for those that ask.

internal import Base
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Synchronization

/// What the connections of a server share.
///
/// On its loop alone, but for what is behind the lock.
final class HttpServerState: Sendable {
  private struct Shared {
    var table: ConnectionTable
    var ledger: ByteLedger
    var rates: RequestRates
    var isClosing = false
    var closings: [Int: @Sendable () -> Void] = [:]
    var next = 0
  }

  let accessPolicy: AccessPolicy
  let meter: ServeMeter
  /// Where requests get a line each; nil for nowhere.
  let log: ServeLog?
  private let shared: Mutex<Shared>

  init(_ accessPolicy: AccessPolicy, _ meter: ServeMeter, _ limits: ServeLimits, _ log: ServeLog?) {
    self.accessPolicy = accessPolicy
    self.meter = meter
    self.log = log
    shared = Mutex(
      Shared(
        table: ConnectionTable(limit: limits.connections), ledger: ByteLedger(limit: limits.heldByteCount),
        rates: RequestRates(perSecond: limits.requestsPerSecond, burst: limits.requestBurst)))
  }

  /// Takes a connection in.
  ///
  /// - Parameter closing: Closes it.
  /// - Returns: Its number; nil where it is refused.
  func enter(closing: @escaping @Sendable () -> Void) -> Int? {
    let (number, victim) = shared.withLock { shared -> (Int?, (@Sendable () -> Void)?) in
      shared.next += 1
      let number = shared.next
      guard !shared.isClosing else { return (nil, nil) }
      var victim: (@Sendable () -> Void)?
      switch shared.table.admit(number) {
      case .refused: return (nil, nil)
      case .instead(let other): victim = shared.closings.removeValue(forKey: other)
      case .admitted: break
      }
      shared.closings[number] = closing
      tell(shared)
      return (number, victim)
    }
    meter.countConnection(closedForRoom: victim == nil && number != nil ? 0 : 1)
    victim?()
    return number
  }

  /// Notes that a connection is closed, once; one that made room for another has no place any more, and gives back
  /// what it held all the same.
  func leave(_ number: Int, _ heldByteCount: Int) {
    shared.withLock { shared in
      shared.ledger.giveBack(heldByteCount)
      shared.table.leave(number)
      shared.closings.removeValue(forKey: number)
      tell(shared)
    }
  }

  func wait(_ number: Int) { shared.withLock { $0.table.wait(number) } }
  func work(_ number: Int) { shared.withLock { $0.table.work(number) } }
  func hold(_ byteCount: Int) -> Bool { shared.withLock { $0.ledger.take(byteCount) } }
  func giveBack(_ byteCount: Int) { shared.withLock { $0.ledger.giveBack(byteCount) } }
  func admits(_ peer: String) -> Bool { shared.withLock { $0.rates.admit(peer, at: .now) } }
  var isClosing: Bool { shared.withLock { $0.isClosing } }
  var isBusy: Bool { shared.withLock { $0.table.isBusy } }

  /// Takes in nobody any more.
  func close() { shared.withLock { $0.isClosing = true } }

  private func tell(_ shared: Shared) {
    meter.note(connections: shared.table.count, heldByteCount: shared.ledger.held)
  }
}

/// A server that listens.
package final class HttpServer: Sendable {
  private let group: MultiThreadedEventLoopGroup
  private let channel: any Channel
  private let state: HttpServerState

  /// Where it listens, as people write it.
  package let address: String
  package let port: Int

  /// Begins to listen.
  ///
  /// Blocks until it does.
  ///
  /// - Parameters:
  ///   - requestHandler: What answers.
  ///   - accessPolicy: Who may ask.
  ///   - host: An address.
  ///   - port: 0 for any that is free.
  ///   - log: Where each request gets a line; nil for nowhere.
  /// - Throws: ``TarnError`` `.usage` for an address that cannot be listened at.
  package init(
    _ requestHandler: RequestHandler, _ accessPolicy: AccessPolicy, host: String, port: Int, log: ServeLog? = nil
  ) throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let state = HttpServerState(accessPolicy, requestHandler.meter, requestHandler.limits, log)
    let limits = requestHandler.limits
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 256)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.maxMessagesPerRead, value: 4)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard let number = state.enter(closing: { channel.close(promise: nil) }) else {
            throw ChannelError.inputClosed
          }
          var decoding = NIOHTTPDecoderLimitConfiguration()
          (decoding.maxHeaderFieldSize, decoding.maxHeaderListSize) = (limits.headByteCount, limits.headByteCount)
          decoding.maxHeaderFieldCount = limits.headerCount
          let address = Self.text(channel.remoteAddress)
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandlers([
            HTTPResponseEncoder(),
            ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: decoding)),
            HttpConnection(number, state, requestHandler, peer: Self.stranger(address), address: address),
          ])
        }
      }
    do {
      channel = try bootstrap.bind(host: host, port: port).wait()
    } catch {
      try? group.syncShutdownGracefully()
      let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
      throw TarnError(
        .usage, "cannot listen at \(host):\(port): \(reason.printableLine)", hint: "name another with --listen")
    }
    self.group = group
    self.state = state
    self.port = channel.localAddress?.port ?? port
    address = host.contains(":") ? "[\(host)]:\(self.port)" : "\(host):\(self.port)"
  }

  /// An address as people write it.
  private static func text(_ address: SocketAddress?) -> String? {
    // Where IPv6 is listened at, IPv4 comes as ::ffff:127.0.0.1.
    (address?.ipAddress).map { $0.hasPrefix("::ffff:") ? String($0.dropFirst(7)) : $0 }
  }

  /// The address of who is not on this machine.
  private static func stranger(_ address: String?) -> String? {
    guard let address, !address.hasPrefix("127."), address != "::1" else { return nil }
    return address
  }

  /// Ends: nobody is taken in any more, what is being answered gets so long, the rest is closed.
  ///
  /// Blocks.
  package func stop(within grace: Duration) {
    state.close()
    try? channel.close().wait()
    let end = ContinuousClock.now + grace
    while state.isBusy, ContinuousClock.now < end { usleep(10_000) }
    try? group.syncShutdownGracefully()
  }
}
