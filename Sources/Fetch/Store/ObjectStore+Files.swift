// What a store of tasks needs besides: objects that are written anew, moved, removed, and
// read into files of this machine.

package import Base
internal import Foundation
internal import Glibc

extension ObjectStore {
  /// Writes a small object, whatever is there.
  ///
  /// - Parameters:
  ///   - bytes: What it is.
  ///   - key: Its key, below the prefix.
  /// - Throws: ``TarnError``.
  package func replace(_ bytes: [UInt8], _ key: String) throws(TarnError) {
    let digest = ContentDigest.of(bytes)
    try require(Question(writing: key, digest) { RequestBody(bytes) }, "writing", key)
    try requireRead(key, bytes.count, digest)
  }

  /// Whether an object is these bytes, as the store gives them.
  ///
  /// - Throws: ``TarnError``.
  package func holds(_ key: String, _ digest: ContentDigest) throws(TarnError) -> Bool {
    guard let known = try head(key) else { return false }
    return try digestRead(key, known.byteCount) == digest
  }

  /// Removes an object; one that is gone already is fine.
  ///
  /// - Throws: ``TarnError``.
  package func remove(_ key: String) throws(TarnError) {
    let answer = try ask(Question(method: "DELETE", key: key))
    switch answer.verdict {
    case .done, .absent: return
    default: throw failure(answer, "removing", key)
    }
  }

  /// Gives an object another key; what has it is replaced.
  ///
  /// A kill in the middle leaves it under both.
  ///
  /// - Throws: ``TarnError``; `.absent` where there is none.
  package func move(_ key: String, to other: String) throws(TarnError) {
    var question = Question(method: "PUT", key: other)
    let source = "/\(bucket.dropFirst("s3://".count))/\(prefix)\(key)"
    question.fields = [("x-amz-copy-source", S3Settings.encoded(path: source))]
    question.body = { RequestBody([]) }
    question.root = "CopyObjectResult"
    question.answerTimeout = Self.assemblyTimeout
    try require(question, "moving to \(shown(other))", key)
    try remove(key)
  }

  /// Reads an object into a file; what an earlier run read of it is not asked for again.
  ///
  /// - Parameters:
  ///   - key: Its key, below the prefix.
  ///   - byteCount: Bytes of it.
  ///   - digest: What its SHA-256 must be.
  ///   - path: The file, which grows there and is durable and right at the end.
  /// - Throws: ``TarnError`` `.integrity` when the object is not those bytes: then the
  ///   file is gone; `.absent`.
  package func fetch(
    _ key: String, _ byteCount: Int, _ digest: ContentDigest, to path: String
  ) throws(TarnError) {
    var isAgain = false
    while true {
      var hasher = Sha256()
      let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
      guard descriptor >= 0 else { throw Disk.systemError("create", path) }
      defer { close(descriptor) }
      let held = try keep(descriptor, path, atMost: byteCount, &hasher)
      var isWhole = true
      if held < byteCount || byteCount == 0 {
        isWhole = try read(key, from: held, byteCount, "reading") { (piece) throws(TarnError) in
          hasher.update(piece)
          try append(piece, to: descriptor, path)
        }
      }
      if isWhole, hasher.finalize() == digest {
        try TarnError.storing { try FaultPlan.step("fsync", path) }
        guard fsync(descriptor) == 0 else { throw Disk.systemError("fsync", path) }
        return
      }
      try TarnError.storing { try Disk.remove(path) }
      // What was held may be what is wrong, or what the network made of it.
      guard held > 0 || !isAgain else {
        throw TarnError(.integrity, "\(shown(key)) is not the bytes with SHA-256 \(digest.prefix(12))")
      }
      isAgain = held == 0
    }
  }

  /// Hashes what is held of an object, and stands behind it.
  ///
  /// - Returns: How much that is; 0 where the file had more than the object has.
  private func keep(
    _ descriptor: Int32, _ path: String, atMost limit: Int, _ hasher: inout Sha256
  ) throws(TarnError) -> Int {
    var info = stat()
    guard unsafe fstat(descriptor, &info) == 0 else { throw Disk.systemError("examine", path) }
    if Int(info.st_size) > limit {
      guard ftruncate(descriptor, 0) == 0 else { throw Disk.systemError("shorten", path) }
      return 0
    }
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var held = 0
    while true {
      if isCancelled() { throw .interrupted }
      let count = unsafe Glibc.read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Disk.systemError("read", path) }
      if count == 0 { return held }
      unsafe hasher.update(buffer.span.bytes.extracting(first: count))
      held += count
    }
  }

  private func append(_ piece: RawSpan, to descriptor: Int32, _ path: String) throws(TarnError) {
    try TarnError.storing { try FaultPlan.step("write", path) }
    var done = 0
    while done < piece.byteCount {
      let count = unsafe piece.withUnsafeBytes {
        unsafe Glibc.write(descriptor, $0.baseAddress.map { unsafe $0 + done }, $0.count - done)
      }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Disk.systemError("write", path) }
      done += count
    }
  }
}
