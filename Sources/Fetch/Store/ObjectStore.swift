// Objects in an S3-compatible store: looked at, listed, read, and written once. What a
// request comes to is StoreAnswer's to say; troubles that pass are waited out here.
//
// Invariants:
// 1. No object is replaced, but by `put` with the tag of what is replaced, and by `replace`.
// 2. An object that was sent counts once it was read back and is the bytes it should be, but where its writer reads
//    it again anyway.
// 3. A request is asked again only after a trouble that may pass, for as long as the
//    caller's patience lasts (R21).

package import Base
internal import CCurl
internal import Foundation
internal import Glibc

/// An object as a store describes it.
package struct StoredObject: Sendable, Equatable {
  package let byteCount: Int
  /// As the store gave it; nil where it gave none.
  package let etag: String?
  /// The SHA-256 that the writer said; nil where it said none.
  package let digest: ContentDigest?
}

/// The objects below a prefix of one bucket.
///
/// Blocks the thread that calls it, on which it lives.
@safe package final class ObjectStore {
  /// What a `put` came to.
  package enum Outcome: Sendable, Equatable {
    case written
    /// The object is there, with these very bytes.
    case alreadyThere
    /// Another object is there, or another than the caller knew.
    case taken
  }

  /// On what condition an object is written.
  package enum Condition: Sendable, Equatable {
    case ifAbsent
    /// It is what had this tag.
    case ifUnchanged(etag: String)
  }

  let configuration: FetchConfiguration
  /// `s3://BUCKET` and `PREFIX/`, or nothing.
  let bucket: String
  let prefix: String
  private let multi: MultiHandle
  let isCancelled: () -> Bool
  private var patience: HostPatience
  private let clock: () -> ContinuousClock.Instant
  private var jitter: SplitMix64
  /// Whether the store knows conditions; false once it refused one.
  private var takesConditions = true

  package static let mostPartCount = 10_000
  /// What a writer says the SHA-256 of an object in.
  static let digestField = "x-amz-meta-sha256"
  /// How long a store may take to put an object together, or to copy one.
  static let assemblyTimeout = Duration.seconds(600)
  /// The most that is read of a listing or an error.
  private static let mostAnswerByteCount = 16 << 20

  /// Prepares to work with what is below a prefix.
  ///
  /// - Parameters:
  ///   - place: `s3://BUCKET` or `s3://BUCKET/PREFIX`.
  ///   - configuration: How to ask, and who asks.
  ///   - patience: How long a store that fails for now is waited for; zero for not at
  ///     all.
  ///   - clock: What patience is measured by.
  ///   - isCancelled: Asked several times a second; true ends the work.
  /// - Throws: ``TarnError`` `.usage`, `.io`.
  package init(
    _ place: String, configuration: FetchConfiguration, patience: Duration,
    clock: @escaping () -> ContinuousClock.Instant = { .now }, isCancelled: @escaping () -> Bool
  ) throws(TarnError) {
    guard place.isStoreAddress else {
      throw TarnError(.usage, "not an S3 address: \(WebAddress.redacted(place))", hint: S3Settings.hint("prefix"))
    }
    let parts = place.dropFirst("s3://".count).split(separator: "/", omittingEmptySubsequences: true)
    bucket = "s3://\(parts.first ?? "")"
    // Keys are asked for and listed by what they are, however the place was written.
    let path = parts.dropFirst().map { "\($0)/" }.joined()
    prefix = path.removingPercentEncoding ?? path
    multi = try MultiHandle(connectionCount: 2)
    self.configuration = configuration
    self.patience = HostPatience(limit: patience)
    self.clock = clock
    self.isCancelled = isCancelled
    jitter = configuration.jitter()
    do throws(TarnError) {
      _ = try configuration.s3Address("\(bucket)/any")
    } catch {
      guard error.code == .usage else { throw error }
      throw TarnError(.usage, "not an S3 address: \(WebAddress.redacted(place))", hint: error.hint)
    }
  }

  // MARK: Looking

  /// What there is under a key; nil when there is nothing.
  package func head(_ key: String) throws(TarnError) -> StoredObject? {
    let answer = try ask(Question(method: "HEAD", key: key))
    guard case .done = answer.verdict else { return try absent(answer, "looking for", key) }
    guard case .exactly(let byteCount) = answer.whole.head.bodyLength else {
      throw TarnError(.integrity, "the store does not say how large \(shown(key)) is")
    }
    let digest = answer.whole.head.value(Self.digestField).flatMap { ContentDigest(hex: $0) }
    return StoredObject(byteCount: byteCount, etag: answer.whole.head.value("etag"), digest: digest)
  }

  /// The bytes of a small object, and its tag; nil when there is none.
  ///
  /// - Throws: ``TarnError`` `.integrity` for one with more than `limit` bytes.
  package func contents(_ key: String, atMost limit: Int) throws(TarnError) -> (bytes: [UInt8], etag: String?)? {
    var question = Question(method: "GET", key: key)
    question.mostAnswerByteCount = limit
    let answer = try ask(question)
    guard case .done = answer.verdict else { return try absent(answer, "reading", key) }
    return (answer.whole.body, answer.whole.head.value("etag"))
  }

  /// The keys that begin with some text, as far as up to a slash behind it.
  ///
  /// - Parameter start: Below the prefix; "" for all.
  /// - Returns: Keys, and what several keys begin with, ending in a slash; below the
  ///   prefix.
  /// - Throws: ``TarnError``.
  package func list(_ start: String = "") throws(TarnError) -> [String] {
    var found: [String] = []
    var token: String?
    var tokens = PageMarkers()
    repeat {
      var question = Question(method: "GET", key: nil)
      question.query = [("delimiter", "/"), ("list-type", "2"), ("prefix", prefix + start)]
      if let token { question.query.append(("continuation-token", token)) }
      question.root = "ListBucketResult"
      let body = try require(question, "listing", start).body
      let (isTruncated, next): (Bool, String?)
      do throws(StoreDocument.Fault) {
        let root = try StoreDocument(body).root
        let named =
          root.elements("Contents").map { ($0, "Key") } + root.elements("CommonPrefixes").map { ($0, "Prefix") }
        for (element, name) in named {
          guard let key = try element.text(of: name), key.hasPrefix(prefix) else { continue }
          found.append(String(key.dropFirst(prefix.count)))
        }
        isTruncated = try root.isTruncated()
        next = try root.text(of: "NextContinuationToken")
      } catch {
        throw error.error(of: "the store's listing of \(shown(start))")
      }
      guard !isTruncated || tokens.take(next) else {
        throw TarnError(.integrity, "the store's listing of \(shown(start)) has no end")
      }
      token = isTruncated ? next : nil
    } while token != nil
    return found
  }

  /// A page of all the objects whose keys begin with some text, as the store wrote it.
  ///
  /// - Parameters:
  ///   - start: Below the prefix.
  ///   - token: What asks for the page; nil for the first one.
  ///   - limit: The most bytes that it may have.
  /// - Returns: A `ListBucketResult`.
  /// - Throws: ``TarnError``.
  func page(of start: String, after token: String?, atMost limit: Int) throws(TarnError) -> [UInt8] {
    var question = Question(method: "GET", key: nil)
    question.query = [("encoding-type", "url"), ("list-type", "2"), ("prefix", prefix + start)]
    if let token { question.query.append(("continuation-token", token)) }
    question.root = "ListBucketResult"
    question.mostAnswerByteCount = limit
    return try require(question, "listing", start).body
  }

  // MARK: Writing

  /// Writes a small object.
  ///
  /// - Parameters:
  ///   - bytes: What it is.
  ///   - key: Its key, below the prefix.
  ///   - condition: On what condition; a store without conditions is looked at first.
  ///   - readsBack: Whether what the store gives must be these bytes; not so of what others may replace at once.
  /// - Returns: What it came to.
  /// - Throws: ``TarnError``.
  package func put(
    _ bytes: [UInt8], _ key: String, _ condition: Condition = .ifAbsent, readsBack: Bool = true
  ) throws(TarnError) -> Outcome {
    let digest = ContentDigest.of(bytes)
    if condition == .ifAbsent, let known = try there(key, bytes.count, digest) { return known }
    var question = Question(writing: key, digest) { RequestBody(bytes) }
    question.condition = condition
    let outcome = try write(question, key, bytes.count, digest)
    if outcome == .written, readsBack { try requireRead(key, bytes.count, digest) }
    return outcome
  }

  /// Writes an object in one request.
  private func write(
    _ question: Question, _ key: String, _ byteCount: Int, _ digest: ContentDigest
  ) throws(TarnError) -> Outcome {
    let answer = try ask(question)
    switch answer.verdict {
    case .done: return .written
    // It may be ours: an answer that was lost.
    case .conditionFailed: return try there(key, byteCount, digest) ?? .taken
    default: throw failure(answer, "writing", key)
    }
  }

  /// Writes a file, in parts where it is large; what parts of it the store took before
  /// are not sent again.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - key: Its key, below the prefix.
  ///   - digest: What its SHA-256 must be.
  ///   - statePath: A file that remembers an upload in parts from one run to the next.
  ///   - remedy: What helps where the file is not those bytes.
  ///   - report: Told of bytes that the store has taken.
  /// - Returns: What it came to.
  /// - Throws: ``TarnError`` `.integrity` when the file is not those bytes.
  package func put(
    file path: String, _ key: String, _ digest: ContentDigest, statePath: String,
    remedy: String = "run `tarn verify --repair`", report: (Int) -> Void = { _ in }
  ) throws(TarnError) -> Outcome {
    let (descriptor, byteCount) = try Disk.openInput(path)
    defer { close(descriptor) }
    if let known = try there(key, byteCount, digest) {
      if known == .alreadyThere { try TarnError.storing { try Disk.remove(statePath) } }
      return known
    }
    let file = Upload(
      path: path, descriptor: descriptor, byteCount: byteCount, digest: digest, key: key, remedy: remedy)
    let outcome =
      try byteCount > configuration.storePartByteCount ? putParts(of: file, statePath, report) : putWhole(file, report)
    guard outcome == .written else { return outcome }
    try requireRead(key, byteCount, digest)
    return .written
  }

  /// A file on its way.
  struct Upload {
    let path: String
    let descriptor: Int32
    let byteCount: Int
    let digest: ContentDigest
    let key: String
    let remedy: String

    /// What the file turned out not to be.
    var damage: TarnError {
      TarnError(.integrity, "\(path) is damaged: its SHA-256 is not \(digest.prefix(12))…", hint: remedy)
    }
  }

  private func putWhole(_ file: Upload, _ report: (Int) -> Void) throws(TarnError) -> Outcome {
    guard try hash(file, 0..<file.byteCount) == file.digest else { throw file.damage }
    var question = Question(writing: file.key, file.digest) { RequestBody(of: file.descriptor, 0..<file.byteCount) }
    question.condition = .ifAbsent
    let outcome = try write(question, file.key, file.byteCount, file.digest)
    if outcome == .written { report(file.byteCount) }
    return outcome
  }

  /// The SHA-256 of a piece of a file.
  func hash(_ file: Upload, _ range: Range<Int>) throws(TarnError) -> ContentDigest {
    var hasher = Sha256()
    try read(file, range) { hasher.update($0) }
    return hasher.finalize()
  }

  /// Reads a piece of a file in order.
  func read(_ file: Upload, _ range: Range<Int>, _ take: (RawSpan) -> Void) throws(TarnError) {
    var buffer = [UInt8](repeating: 0, count: min(max(1, range.count), 1 << 20))
    var offset = range.lowerBound
    while offset < range.upperBound {
      if isCancelled() { throw .interrupted }
      let wanted = min(buffer.count, range.upperBound - offset)
      let count = unsafe buffer.withUnsafeMutableBytes {
        unsafe pread(file.descriptor, $0.baseAddress, wanted, off_t(offset))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw count < 0 ? Disk.systemError("read", file.path) : file.damage }
      unsafe take(buffer.span.bytes.extracting(first: count))
      offset += count
    }
  }

  /// What is under a key that is to be written: nothing, these bytes or others.
  func there(_ key: String, _ byteCount: Int, _ digest: ContentDigest) throws(TarnError) -> Outcome? {
    guard let known = try head(key) else { return nil }
    guard known.byteCount == byteCount else { return .taken }
    // What was sent with its digest was checked by the store; what says none is read.
    if known.digest == digest { return .alreadyThere }
    return try digestRead(key, byteCount) == digest ? .alreadyThere : .taken
  }

  /// Reads an object back: what the store gives must be what was sent.
  func requireRead(_ key: String, _ byteCount: Int, _ digest: ContentDigest) throws(TarnError) {
    guard try digestRead(key, byteCount) == digest else {
      throw TarnError(
        .integrity, "the store gives other bytes of \(shown(key)) than were sent",
        hint: "remove that object, and run the same command again")
    }
  }

  /// The SHA-256 of an object as the store gives it; nil where it has other lengths.
  func digestRead(_ key: String, _ byteCount: Int) throws(TarnError) -> ContentDigest? {
    var hasher = Sha256()
    let isWhole = try read(key, from: 0, byteCount, "reading back") { hasher.update($0) }
    return isWhole ? hasher.finalize() : nil
  }

  /// Reads an object from some byte on, in pieces, so that a connection that breaks costs one.
  ///
  /// - Returns: Whether it has that length.
  func read(
    _ key: String, from start: Int, _ byteCount: Int, _ verb: String, _ take: (RawSpan) throws(TarnError) -> Void
  ) throws(TarnError) -> Bool {
    let piece = 16 << 20
    var offset = start
    repeat {
      let end = min(offset + piece, byteCount)
      var question = Question(method: "GET", key: key)
      if byteCount > 0 { question.range = "\(offset)-\(end - 1)" }
      question.mostAnswerByteCount = max(1 << 16, end - offset)
      let answer = try require(question, verb, key)
      let isPiece = answer.body.count == end - offset && (byteCount == 0 || answer.head.statusCode == 206)
      // A store without ranges gives the whole.
      guard isPiece || end == byteCount && offset == 0 && answer.body.count == byteCount else { return false }
      unsafe try take(answer.body.span.bytes)
      offset = end
    } while offset < byteCount
    return true
  }

  // MARK: Requests

  /// What is asked of the store.
  struct Question {
    let method: String
    /// Below the prefix; nil for the bucket.
    let key: String?
    var query: [(name: String, value: String)] = []
    var fields: [(name: String, value: String)] = []
    var body: (() -> RequestBody)?
    var payload = ContentDigest.of([UInt8]())
    var condition: Condition?
    var range: String?
    /// The element that the body of a success has.
    var root: String?
    var mostAnswerByteCount = ObjectStore.mostAnswerByteCount
    /// How long the store may think.
    var answerTimeout: Duration?

    init(method: String, key: String?) {
      self.method = method
      self.key = key
    }

    /// Writes an object, and says its digest with it.
    init(writing key: String, _ digest: ContentDigest, _ body: @escaping () -> RequestBody) {
      self.init(method: "PUT", key: key)
      self.body = body
      payload = digest
      fields = [(ObjectStore.digestField, digest.hex)]
    }
  }

  /// An answer that will not be asked for again.
  struct Answer {
    let whole: StoreAnswer
    let verdict: StoreAnswer.Verdict
  }

  /// Asks for what has to be done.
  ///
  /// - Returns: The answer that it is.
  /// - Throws: ``TarnError`` where it is not.
  @discardableResult
  func require(_ question: Question, _ verb: String, _ key: String) throws(TarnError) -> StoreAnswer {
    let answer = try ask(question)
    guard case .done = answer.verdict else { throw failure(answer, verb, key) }
    return answer.whole
  }

  /// Asks, again and again while the store's troubles may pass.
  ///
  /// - Throws: ``TarnError`` `.temporary` when they did not pass in time.
  func ask(_ question: Question) throws(TarnError) -> Answer {
    var failureCount = 0
    do throws(TarnError) {
      while true {
        let reply = try Reply { () throws(TarnError) in try askOnce(question) }
        switch reply {
        case .answer(let answer):
          if case .unsupported = answer.verdict, question.condition != nil, takesConditions {
            takesConditions = false
            continue
          }
          patience.delivered()
          return answer
        case .later(let wait, let error):
          failureCount += 1
          let now = clock()
          guard let pause = pause(after: failureCount, askingFor: wait, at: now) else { throw error }
          try waitOut(until: now + pause, by: clock, isCancelled: isCancelled)
        }
      }
    } catch {
      throw error.code == .interrupted ? error : error.about(shown(question.key ?? ""))
    }
  }

  /// How long a store that failed for now is left alone; nil where it is not asked again.
  private func pause(
    after failureCount: Int, askingFor wait: Duration?, at now: ContinuousClock.Instant
  ) -> Duration? {
    guard patience.limit == .zero else { return patience.failed(askingFor: wait, at: now)?.length }
    // As a mirror is asked without patience.
    guard failureCount < configuration.attemptsPerMirror else { return nil }
    return max(configuration.backoff.wait(afterFailures: failureCount, using: &jitter), wait ?? .zero)
  }

  private func askOnce(_ question: Question) throws(TarnError) -> Reply<Answer> {
    // An address has a key percent-encoded; here it is what it is.
    let place = "\(bucket)/" + (question.key.map { S3Settings.encoded(path: prefix + $0) } ?? "")
    var text = try configuration.s3.storeAddress(of: place)
    let query = question.query.map { (S3Settings.encoded(query: $0.name), S3Settings.encoded(query: $0.value)) }
      .sorted { $0.0 < $1.0 }.map { "\($0.0)=\($0.1)" }.joined(separator: "&")
    if !query.isEmpty { text += "?\(query)" }
    let address = try WebAddress(s3: place, at: text)
    var fields = question.fields
    if takesConditions {
      switch question.condition {
      case .ifAbsent: fields.append(("if-none-match", "*"))
      case .ifUnchanged(let etag): fields.append(("if-match", etag))
      case nil: break
      }
    }
    var form = WebRequest.Form(address: address, tag: 1)
    form.isHead = question.method == "HEAD"
    form.isSigned = true
    form.range = question.range
    form.body = question.body?()
    if !form.isHead, question.method != "GET" { form.method = question.method }
    // A store is not asked first whether it wants the body.
    form.lines = try sign(question, address, query: query, fields) + (form.body == nil ? [] : ["Expect:"])
    form.bytesPerSecond = configuration.bytesPerSecondNow()
    var configuration = configuration
    if let timeout = question.answerTimeout { configuration.watch.allow(timeout) }
    let exchange = try PlainExchange(form, atMost: question.mostAnswerByteCount, configuration)
    let end = try multi.perform(exchange, bytesPerSecond: configuration.bytesPerSecondNow, isCancelled: isCancelled)
    let whole = try exchange.answer(end)
    let verdict = whole.verdict(
      root: question.root, unsigned: configuration.s3.whyUnsigned, at: Date(), cap: configuration.retryAfterCap)
    if case .later(let wait, let error) = verdict { return .later(wait, error) }
    return .answer(Answer(whole: whole, verdict: verdict))
  }

  private func sign(
    _ question: Question, _ address: WebAddress, query: String, _ fields: [(name: String, value: String)]
  ) throws(TarnError) -> [String] {
    guard let keys = try configuration.s3.signature() else {
      return fields.map { "\($0.name): \($0.value)" }
    }
    let start = address.url.range(of: "://")?.upperBound ?? address.url.startIndex
    let rest = address.url[start...]
    let slash = rest.firstIndex(of: "/") ?? rest.endIndex
    let path = rest[slash...].prefix { $0 != "?" }
    // As libcurl writes it: the port where it is not the scheme's own.
    let isOwnPort = address.port == (address.scheme == .https ? 443 : 80)
    return RequestSignature(
      method: question.method, host: isOwnPort ? address.host : "\(address.host):\(address.port)",
      path: path.isEmpty ? "/" : String(path), query: query, fields: fields, payload: question.payload
    ).lines(
      accessKey: keys.accessKey, secretKey: keys.secretKey, sessionToken: keys.sessionToken,
      region: configuration.s3.region, at: Date())
  }

  /// An address without secrets, for messages.
  func shown(_ key: String) -> String { WebAddress.redacted("\(bucket)/\(prefix)\(key)") }

  /// The error of an answer that is not what was wanted.
  func failure(_ answer: Answer, _ verb: String, _ key: String) -> TarnError {
    let place = "\(verb) \(shown(key))"
    switch answer.verdict {
    case .refused(let error), .later(_, let error):
      return error.about(place)
    case .absent: return TarnError(.absent, "\(place): there is no such object")
    case .unsupported(let code): return TarnError(.refused, "\(place): the store cannot do that (\(code))")
    case .conditionFailed: return TarnError(.conflict, "\(place): somebody else wrote it meanwhile")
    case .done: return TarnError(.integrity, "\(place): an answer that means nothing")
    }
  }

  /// Nil for an answer that there is nothing; anything else is thrown.
  private func absent<Value>(_ answer: Answer, _ verb: String, _ key: String) throws(TarnError) -> Value? {
    if case .absent = answer.verdict { return nil }
    throw failure(answer, verb, key)
  }
}

extension FetchConfiguration {
  /// The share of one of ``jobs`` in the bandwidth of this time; nil for no limit.
  package func bytesPerSecondNow() -> Int? { bandwidthNow().limit(at: Date()).map { max(1, $0 / max(1, jobs)) } }
}
