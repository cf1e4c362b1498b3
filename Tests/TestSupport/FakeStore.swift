// An object store in memory, as far as tarn asks one: objects, listings, uploads in
// parts, conditions. Any of its requests can fail, before or after it is done.

internal import Base
internal import Foundation
internal import Synchronization

/// An S3-compatible store of one bucket, `bucket`, that asks for no signature.
package final class FakeStore: Sendable {
  /// How a request fails.
  package enum Fault: Sendable {
    /// 503, and nothing is done.
    case refused
    /// The connection breaks before it is done.
    case cut
    /// It is done, and the answer is lost.
    case lost
    /// The answer is none of a server of the web.
    case garbled
    /// It is done, and the body comes a second after the head.
    case slow
    /// 403, as of keys that may not do it.
    case forbidden
  }

  private struct Object {
    var bytes: [UInt8]
    var digest: String?
  }

  private struct Upload {
    let key: String
    let digest: String?
    var parts: [Int: [UInt8]] = [:]
  }

  private struct State {
    var objects: [String: Object] = [:]
    var uploads: [String: Upload] = [:]
    var uploadCount = 0
    var requests: [String] = []
    var fault: @Sendable (_ number: Int, _ request: String) -> Fault? = { _, _ in nil }
    var other: @Sendable (_ request: String) -> (key: String, bytes: [UInt8])? = { _ in nil }
    var knowsConditions = true
    var tellsDigests = true
  }

  private let state: Shared
  private let server: HostileServer

  private final class Shared: Sendable {
    let value = Mutex(State())
  }

  /// A store that listens at once.
  package init() throws {
    let state = Shared()
    self.state = state
    server = try HostileServer { request in
      let (fault, answer) = state.value.withLock { state -> (Fault?, ScriptedAnswer) in
        let number = state.requests.count
        let line = "\(request.method) \(request.target)"
        state.requests.append(line)
        switch state.fault(number, line) {
        case .refused: return (nil, .answer(503))
        case .forbidden: return (nil, Self.error(403, "AccessDenied"))
        case .cut: return (.cut, .answer(503))
        case .lost:
          _ = Self.answer(request, &state)
          return (.lost, .answer(503))
        case .garbled:
          return (nil, ScriptedAnswer([.send(Array("nonsense\r\n\r\n".utf8)), .close]))
        case .slow: return (nil, Self.answer(request, &state).pausing(milliseconds: 1_000))
        case nil:
          let answer = Self.answer(request, &state)
          if let (key, bytes) = state.other(line) { state.objects[key] = Object(bytes: bytes) }
          return (nil, answer)
        }
      }
      return fault == nil ? answer : ScriptedAnswer([.close])
    }
  }

  /// What a process is told of it.
  package var environment: [String: String] {
    [
      "AWS_ENDPOINT_URL": server.url(""), "AWS_ENDPOINT_URL_S3": "", "AWS_PROFILE": "none",
      "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_CONFIG_FILE": "/dev/null", "AWS_ACCESS_KEY_ID": "",
      "AWS_SECRET_ACCESS_KEY": "",
    ]
  }

  /// The objects, by key.
  package var objects: [String: [UInt8]] { state.value.withLock { $0.objects.mapValues(\.bytes) } }

  /// Puts an object there, or changes it, behind everybody's back; nil removes it.
  package func set(_ key: String, _ bytes: [UInt8]?, digest: String? = nil) {
    state.value.withLock { $0.objects[key] = bytes.map { Object(bytes: $0, digest: digest) } }
  }

  /// Uploads in parts that are neither completed nor given up.
  package var openUploadCount: Int { state.value.withLock(\.uploads.count) }

  /// Everything asked since the last ``fail(_:)``: method and target.
  package var requests: [String] { state.value.withLock(\.requests) }

  /// Says which requests fail, counted from 0 from now on.
  package func fail(_ fault: @escaping @Sendable (_ number: Int, _ request: String) -> Fault? = { _, _ in nil }) {
    state.value.withLock { state in
      state.requests = []
      state.fault = fault
    }
  }

  /// Says what somebody else writes as soon as a request, method and target, is done.
  package func writing(_ other: @escaping @Sendable (_ request: String) -> (key: String, bytes: [UInt8])?) {
    state.value.withLock { $0.other = other }
  }

  /// Removes all that is there.
  package func clear() {
    state.value.withLock { state in
      state.objects = [:]
      state.uploads = [:]
    }
  }

  /// Makes it a store that refuses conditions.
  package func forgetConditions() { state.value.withLock { $0.knowsConditions = false } }

  /// Makes it a store that tells nothing of what writers said of objects.
  package func forgetDigests() { state.value.withLock { $0.tellsDigests = false } }

  // MARK: Answers

  private static func answer(_ request: HostileServer.Request, _ state: inout State) -> ScriptedAnswer {
    let parts = request.target.split(separator: "?", maxSplits: 1)
    let path = String(parts[0]).removingPercentEncoding ?? ""
    guard path.hasPrefix("/bucket/") else { return error(404, "NoSuchBucket") }
    let key = String(path.dropFirst("/bucket/".count))
    var query: [String: String] = [:]
    for item in parts.dropFirst().first?.split(separator: "&") ?? [] {
      let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      query[String(pair[0])] = pair.count > 1 ? String(pair[1]).removingPercentEncoding : ""
    }
    let isConditional = request.value("if-none-match") != nil || request.value("if-match") != nil
    if isConditional, !state.knowsConditions { return error(501, "NotImplemented") }
    if request.method == "HEAD", state.objects[key] == nil {
      return .answer(404, headers: ["Content-Length: 0"], framing: .none)
    }
    if let id = query["uploadId"] { return part(request, key, id, query, &state) }
    switch (request.method, key.isEmpty) {
    case ("GET", true): return list(query["prefix"] ?? "", state)
    case ("GET", false), ("HEAD", false):
      guard let object = state.objects[key] else { return error(404, "NoSuchKey") }
      let file = ScriptedAnswer.file(object.bytes, etag: tag(object.bytes), for: request)
      guard request.method == "HEAD", state.tellsDigests, let digest = object.digest else { return file }
      return .answer(
        200, headers: ["Content-Length: \(object.bytes.count)", "x-amz-meta-sha256: \(digest)"], framing: .none)
    case ("PUT", false):
      if let source = request.value("x-amz-copy-source")?.removingPercentEncoding {
        guard let object = state.objects[String(source.dropFirst("/bucket/".count))] else {
          return error(404, "NoSuchKey")
        }
        state.objects[key] = object
        return xml("<CopyObjectResult><ETag>x</ETag></CopyObjectResult>")
      }
      if request.value("if-none-match") == "*", state.objects[key] != nil { return error(412, "PreconditionFailed") }
      if let expected = request.value("if-match"), state.objects[key].map({ tag($0.bytes) }) != expected {
        return error(412, "PreconditionFailed")
      }
      state.objects[key] = Object(bytes: request.body, digest: request.value("x-amz-meta-sha256"))
      return .answer(200, headers: ["ETag: \(tag(request.body))"])
    case ("DELETE", false):
      state.objects[key] = nil
      return .answer(204)
    case ("POST", false) where query["uploads"] != nil:
      state.uploadCount += 1
      let id = "upload-\(state.uploadCount)"
      state.uploads[id] = Upload(key: key, digest: request.value("x-amz-meta-sha256"))
      return xml("<InitiateMultipartUploadResult><UploadId>\(id)</UploadId></InitiateMultipartUploadResult>")
    default: return error(405, "MethodNotAllowed")
    }
  }

  private static func part(
    _ request: HostileServer.Request, _ key: String, _ id: String, _ query: [String: String], _ state: inout State
  ) -> ScriptedAnswer {
    guard let upload = state.uploads[id], upload.key == key else { return error(404, "NoSuchUpload") }
    switch request.method {
    case "PUT":
      guard let number = query["partNumber"].flatMap({ Int($0) }) else { return error(400, "InvalidArgument") }
      state.uploads[id]?.parts[number] = request.body
      return .answer(200, headers: ["ETag: \(tag(request.body))"])
    case "GET":
      let parts = upload.parts.sorted { $0.key < $1.key }.map { number, bytes in
        "<Part><PartNumber>\(number)</PartNumber><Size>\(bytes.count)</Size><ETag>\(tag(bytes))</ETag></Part>"
      }
      return xml("<ListPartsResult>\(parts.joined())<IsTruncated>false</IsTruncated></ListPartsResult>")
    case "POST":
      if request.value("if-none-match") == "*", state.objects[key] != nil { return error(412, "PreconditionFailed") }
      let bytes = upload.parts.sorted { $0.key < $1.key }.flatMap(\.value)
      state.objects[key] = Object(bytes: bytes, digest: upload.digest)
      state.uploads[id] = nil
      return xml("<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
    default:
      state.uploads[id] = nil
      return .answer(204)
    }
  }

  private static func list(_ prefix: String, _ state: State) -> ScriptedAnswer {
    var (keys, groups): ([String], Set<String>) = ([], [])
    for key in state.objects.keys.sorted() where key.hasPrefix(prefix) {
      if let slash = key.dropFirst(prefix.count).firstIndex(of: "/") {
        groups.insert(String(key[...slash]))
      } else {
        keys.append(key)
      }
    }
    let contents = keys.map { "<Contents><Key>\($0)</Key></Contents>" }
    let prefixes = groups.sorted().map { "<CommonPrefixes><Prefix>\($0)</Prefix></CommonPrefixes>" }
    return xml(
      "<ListBucketResult>\(contents.joined())\(prefixes.joined())<IsTruncated>false</IsTruncated></ListBucketResult>")
  }

  private static func tag(_ bytes: [UInt8]) -> String { "\"\(ContentDigest.of(bytes).prefix(32))\"" }

  private static func xml(_ text: String) -> ScriptedAnswer { .answer(200, body: Array(text.utf8)) }

  private static func error(_ status: Int, _ code: String) -> ScriptedAnswer {
    .answer(status, body: Array("<Error><Code>\(code)</Code></Error>".utf8))
  }
}
