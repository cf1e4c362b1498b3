// One connection: a request at a time is taken in within its bounds, let in or refused, answered, and sent within its
// time. Everything here happens on the server's loop.

internal import Base
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// A flag that tells work that nobody waits for it any more.
private final class Departure: Sendable {
  private let flag = Atomic(false)
  var hasHappened: Bool { flag.load(ordering: .relaxed) }
  func happen() { flag.store(true, ordering: .relaxed) }
}

/// The last handler of a connection.
final class HttpConnection: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private struct Intake {
    let head: RequestHead
    let target: RequestTarget
    let route: ServeRoute
    var body: [UInt8] = []
  }

  private enum State {
    /// For a head, the next one of a connection that is kept too.
    case waiting
    case taking(Intake)
    /// A refusal waits for the end of a body that nobody reads.
    case skipping(ServeAnswer, byteCount: Int)
    case working
    case sending
    case closed
  }

  private let number: Int
  private let server: HttpServerState
  private let requestHandler: RequestHandler
  private let peer: String?
  /// The address of who asks, wherever that is.
  private let address: String?
  private var state = State.waiting
  /// What came of requests behind the one that is worked on: no more than was read at once, as nothing is read meanwhile.
  private var parts = Queue<HTTPServerRequestPart>()
  private var isReadWanted = false
  private var isTakingParts = false
  private var timer: Scheduled<Void>?
  private var departure = Departure()
  private var hasLeft = false
  /// Bytes that the ledger counts for this connection.
  private var heldByteCount = 0
  private var isHead = false
  private var isKept = false
  /// Whether who asks is told of errors as a page.
  private var isForPeople = false
  /// The origin of the page that asks, where that was named to the server.
  private var origin: String?
  /// The request that has no line in the log yet, where there is a log.
  private var asked: (begin: ContinuousClock.Instant, method: String, target: String)?

  /// Makes the handler of a connection.
  ///
  /// - Parameters:
  ///   - number: The connection's, as the server's state gave it.
  ///   - server: What it shares with others.
  ///   - requestHandler: What answers.
  ///   - peer: The address of who asks; nil for one on this machine.
  ///   - address: The address of who asks.
  init(_ number: Int, _ server: HttpServerState, _ requestHandler: RequestHandler, peer: String?, address: String?) {
    self.number = number
    self.server = server
    self.requestHandler = requestHandler
    self.peer = peer
    self.address = address
  }

  private var limits: ServeLimits { requestHandler.limits }

  // MARK: Coming and going

  func channelActive(context: ChannelHandlerContext) {
    arm(context, limits.headTime)
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    leave()
    context.fireChannelInactive()
  }

  private func leave() {
    guard !hasLeft else { return }
    hasLeft = true
    if asked != nil { log(nil, 0) }
    // One that was closed for room has no place there any more, and all of this all the same.
    server.leave(number, heldByteCount)
    heldByteCount = 0
    state = .closed
    departure.happen()
    timer?.cancel()
    timer = nil
  }

  private func close(_ context: ChannelHandlerContext) {
    leave()
    context.close(promise: nil)
  }

  /// Gives the connection so long for what it is at.
  private func arm(_ context: ChannelHandlerContext, _ time: Duration) {
    timer?.cancel()
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    timer = context.eventLoop.scheduleTask(in: .nanoseconds(Int64(time.seconds * 1e9))) {
      let (connection, context) = bound.value
      connection.overdue(context)
    }
  }

  private func overdue(_ context: ChannelHandlerContext) {
    switch state {
    case .taking: refuse(context, .error(408, "the body did not come within \(Int(limits.bodyTime.seconds)) s"))
    case .skipping(let answer, _): refuse(context, answer)
    case .waiting, .sending: close(context)
    case .working, .closed: break
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // Who goes away in the middle of a request hears nothing.
    guard let fault = error as? HTTPParserError, fault != .invalidEOFState else { return close(context) }
    switch state {
    case .waiting: refuse(context, .error(400, "this is no request of HTTP/1.1 that can be answered"))
    case .taking: refuse(context, .error(400, "the body is not in the form that its head says"))
    case .skipping(let answer, _): refuse(context, answer)
    case .working, .sending, .closed: close(context)
    }
  }

  // MARK: Requests

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    parts.append(unwrapInboundIn(data))
    takeParts(context)
  }

  /// Whether the next part of a request can be looked at.
  private var isOpen: Bool {
    switch state {
    case .waiting, .taking, .skipping: true
    case .working, .sending, .closed: false
    }
  }

  private func takeParts(_ context: ChannelHandlerContext) {
    // An answer that is sent at once comes back here.
    guard !isTakingParts else { return }
    isTakingParts = true
    defer { isTakingParts = false }
    while isOpen, let part = parts.popFirst() {
      switch part {
      case .head(let head): take(context, head)
      case .body(let bytes): take(context, bytes)
      case .end: end(context)
      }
    }
  }

  func read(context: ChannelHandlerContext) {
    if isOpen { context.read() } else { isReadWanted = true }
  }

  private func take(_ context: ChannelHandlerContext, _ head: HTTPRequestHead) {
    guard case .waiting = state else { return close(context) }
    server.work(number)
    arm(context, limits.bodyTime)
    isHead = head.method == .HEAD
    isKept = head.isKeepAlive
    isForPeople = ServeRoute.isForPeople(head.uri)
    departure = Departure()
    let own = RequestHead(
      method: head.method.rawValue, target: head.uri, headers: head.headers.map { (name: $0.name, value: $0.value) })
    if server.log != nil { asked = (ContinuousClock.now, own.method, own.target) }
    origin = server.accessPolicy.namedOrigin(of: own)
    switch judge(own) {
    case .success(let intake):
      state = .taking(intake)
      if expectsContinue(own) {
        context.writeAndFlush(
          wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
      }
    case .failure(let refusal):
      // A body that is announced longer than any is not read for the sake of a refusal.
      guard own.announcedByteCount <= limits.bodyByteCount, !expectsContinue(own) else {
        return refuse(context, refusal.answer)
      }
      state = .skipping(refusal.answer, byteCount: 0)
    }
  }

  /// Whether a client waits to be told that its body is wanted.
  private func expectsContinue(_ head: RequestHead) -> Bool {
    head.values("expect").contains { $0.lowercased() == "100-continue" }
  }

  private struct Refusal: Error { let answer: ServeAnswer }

  /// Judges a head: what it asks for, or why not.
  private func judge(_ head: RequestHead) -> Result<Intake, Refusal> {
    func refused(_ answer: ServeAnswer) -> Result<Intake, Refusal> { .failure(Refusal(answer: answer)) }
    if let peer, !server.admits(peer) {
      var answer = ServeAnswer.error(429, "too many requests come from this address", hint: "ask again in a moment")
      answer.headers["Retry-After"] = "1"
      return refused(answer)
    }
    guard head.target.utf8.count <= limits.targetByteCount else {
      return refused(.error(414, "the address is too long"))
    }
    let byteCount = head.headers.reduce(head.target.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
    guard byteCount <= limits.headByteCount, head.headers.count <= limits.headerCount else {
      return refused(.error(431, "the head is longer than \(limits.headByteCount) bytes"))
    }
    guard let target = RequestTarget(parsing: head.target) else {
      return refused(.error(400, "the address is not one of this server's"))
    }
    var route = Result { () throws(ServeRoute.Refusal) in try ServeRoute(head.method, target.parts) }
    let isForPrograms = ServeRoute.isForPrograms(target.parts)
    // It is asked before the request that has the token.
    let isPreflight =
      head.method == "OPTIONS" && origin != nil && isForPrograms
      && head.values("access-control-request-method").count == 1
    if isPreflight, case .failure(.method(let methods)) = route { route = .success(.preflight(methods: methods)) }
    let isPage = if case .success(.page) = route { true } else { false }
    let isOpen = (try? route.get())?.isOpen ?? false || isPreflight
    if let refusal = server.accessPolicy.refusal(
      of: head, isOpen: isOpen, isPage: isPage, isForPrograms: isForPrograms)
    {
      return refused(refusal)
    }
    switch route {
    case .failure(.notFound):
      return refused(
        isForPrograms
          ? .error(404, "there is nothing at this address") : ServePage.notFound)
    case .failure(.method(let allowed)):
      var answer = ServeAnswer.error(405, "this address takes \(allowed)")
      answer.headers["Allow"] = allowed
      return refused(answer)
    case .success(let route):
      let lengths = head.values("content-length")
      guard lengths.count <= 1, lengths.isEmpty || head.values("transfer-encoding").isEmpty else {
        return refused(.error(400, "a request says once how long it is"))
      }
      guard head.announcedByteCount <= limits.bodyByteCount else {
        return refused(.error(413, "the body is longer than \(ByteSize.text(limits.bodyByteCount))"))
      }
      return .success(Intake(head: head, target: target, route: route))
    }
  }

  private func take(_ context: ChannelHandlerContext, _ bytes: ByteBuffer) {
    switch state {
    case .taking(var intake):
      // Out of the state while it grows, so that it is not copied.
      state = .working
      guard intake.body.count + bytes.readableBytes <= limits.bodyByteCount else {
        return refuse(context, .error(413, "the body is longer than \(ByteSize.text(limits.bodyByteCount))"))
      }
      guard hold(bytes.readableBytes) else { return refuse(context, .busy("too many bodies are held")) }
      intake.body.append(contentsOf: bytes.readableBytesView)
      state = .taking(intake)
    case .skipping(let answer, let byteCount):
      guard byteCount + bytes.readableBytes <= limits.bodyByteCount else { return refuse(context, answer) }
      state = .skipping(answer, byteCount: byteCount + bytes.readableBytes)
    case .waiting, .working, .sending, .closed: break
    }
  }

  private func end(_ context: ChannelHandlerContext) {
    switch state {
    case .skipping(let answer, _):
      server.meter.countRefusal(answer.status)
      send(context, answer)
    case .taking(let intake):
      state = .working
      timer?.cancel()
      let departure = departure
      let request = ServeRequest(
        head: intake.head, target: intake.target, route: intake.route, body: intake.body,
        isGone: { departure.hasHappened })
      let loop = context.eventLoop
      let bound = NIOLoopBound((self, context), eventLoop: loop)
      requestHandler.answer(request) { answer in
        // The loop of a server that ended takes nothing any more.
        guard !departure.hasHappened else { return }
        loop.execute {
          let (connection, context) = bound.value
          // Another request may have come since, of a connection that was closed.
          if !departure.hasHappened { connection.send(context, answer) }
        }
      }
    case .waiting, .working, .sending, .closed: break
    }
  }

  private func hold(_ byteCount: Int) -> Bool {
    guard server.hold(byteCount) else { return false }
    heldByteCount += byteCount
    return true
  }

  // MARK: Answers

  /// Answers at once and ends the connection, whatever else it meant to send.
  private func refuse(_ context: ChannelHandlerContext, _ answer: ServeAnswer) {
    server.meter.countRefusal(answer.status)
    isKept = false
    send(context, answer)
  }

  private func send(_ context: ChannelHandlerContext, _ answer: ServeAnswer) {
    if case .closed = state { return }
    server.giveBack(heldByteCount)
    heldByteCount = 0
    var answer = told(answer)
    if !hold(answer.body.count) {
      answer = told(.busy("too many answers are held"))
      _ = hold(answer.body.count)
    }
    log(answer.status, isHead ? 0 : answer.body.count)
    state = .sending
    arm(context, limits.sendTime)
    isKept = isKept && !server.isClosing
    if let origin { answer.headers.merge(AccessPolicy.headers(for: origin)) { $1 } }
    var headers = HTTPHeaders(answer.allHeaders.map { ($0.name, $0.value) })
    if !isKept { headers.add(name: "Connection", value: "close") }
    context.write(
      wrapOutboundOut(
        .head(
          HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: answer.status), headers: headers))),
      promise: nil)
    if !isHead, !answer.body.isEmpty {
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: answer.body)))), promise: nil)
    }
    let sent = context.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    sent.futureResult.whenComplete { result in
      let (connection, context) = bound.value
      connection.sent(context, isWhole: (try? result.get()) != nil)
    }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: sent)
  }

  /// An answer as who asks is told it: errors at the address of a page are pages.
  private func told(_ answer: ServeAnswer) -> ServeAnswer {
    isForPeople && !answer.isGood && answer.contentType == ServeAnswer.jsonType ? ServePage.refusal(answer) : answer
  }

  /// Has a line written of the request that is answered, or whose client is gone.
  private func log(_ status: Int?, _ byteCount: Int) {
    guard let log = server.log else { return }
    log.add(
      AnsweredRequest(
        peer: address, method: asked?.method, target: asked?.target, status: status, byteCount: byteCount,
        duration: asked.map { ContinuousClock.now - $0.begin } ?? .zero))
    asked = nil
  }

  private func sent(_ context: ChannelHandlerContext, isWhole: Bool) {
    if case .closed = state { return }
    server.giveBack(heldByteCount)
    heldByteCount = 0
    guard isWhole, isKept else { return close(context) }
    state = .waiting
    isForPeople = false
    server.wait(number)
    arm(context, limits.headTime)
    takeParts(context)
    if isOpen, isReadWanted {
      isReadWanted = false
      context.read()
    }
  }
}
