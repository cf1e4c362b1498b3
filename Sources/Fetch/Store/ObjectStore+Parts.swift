// Large objects, in parts: an upload that was interrupted goes on with the parts that
// the store still has, as it says itself.
//
// Invariants:
// 1. A part counts as taken when its number, size and tag are in the store's list and in
//    the state that was written when it was sent from these very bytes.
// 2. The upload is completed only when the whole file, hashed on the way, is what it
//    should be; else it is aborted.

package import Base
internal import Foundation

extension ObjectStore {
  /// What is remembered of an upload from one run to the next.
  private struct State: Codable {
    struct Part: Codable, Equatable {
      let number: Int
      let byteCount: Int
      let etag: String
      let sha256: ContentDigest
    }
    let key: String
    let sha256: ContentDigest
    let partByteCount: Int
    let uploadID: String
    var parts: [Part] = []
  }

  func putParts(of file: Upload, _ statePath: String, _ report: (Int) -> Void) throws(TarnError) -> Outcome {
    let least = (file.byteCount + Self.mostPartCount - 1) / Self.mostPartCount
    // Else whole mebibytes, so that both runs cut alike.
    let usual = configuration.storePartByteCount
    let size = least <= usual ? usual : ((least + (1 << 20) - 1) >> 20) << 20
    var state = try continued(file, statePath, size)
    if state == nil { state = try begin(file, size, statePath) }
    guard var state else { throw TarnError(.integrity, "the store began no upload of \(shown(file.key))") }
    do throws(TarnError) {
      try send(file, &state, statePath, report)
      let outcome = try complete(file, state)
      try TarnError.storing { try Disk.remove(statePath) }
      return outcome
    } catch {
      switch error.code {
      case .interrupted, .temporary, .diskFull, .io:
        let count = state.parts.count
        throw TarnError(
          error.code,
          error.message
            + "; \(count) parts of \(shown(file.key)) stay in the store, upload \(state.uploadID.printable)",
          hint: error.hint ?? "run the same command again to continue")
      default:
        let isGone = (try? abort(file.key, state.uploadID)) ?? false
        if isGone { try TarnError.storing { try Disk.remove(statePath) } }
        throw isGone
          ? error
          : TarnError(
            error.code,
            error.message + "; parts of \(shown(file.key)) are left in the store, upload \(state.uploadID.printable)",
            hint: error.hint)
      }
    }
  }

  /// The upload that an earlier run began, with the parts that the store has of it; nil
  /// when there is none any more.
  private func continued(_ file: Upload, _ statePath: String, _ size: Int) throws(TarnError) -> State? {
    guard let bytes = try? Disk.contents(of: statePath, atMost: 16 << 20),
      var state = try? JSONDecoder().decode(State.self, from: Data(bytes)), state.key == prefix + file.key,
      state.sha256 == file.digest, state.partByteCount == size
    else { return nil }
    var taken: [Int: (byteCount: Int, etag: String)] = [:]
    var marker: String?
    var markers = PageMarkers()
    repeat {
      var question = Question(method: "GET", key: file.key)
      question.query = [("uploadId", state.uploadID)] + (marker.map { [("part-number-marker", $0)] } ?? [])
      question.root = "ListPartsResult"
      let answer = try ask(question)
      guard case .done = answer.verdict else {
        if case .absent = answer.verdict { return nil }
        throw failure(answer, "listing the parts of", file.key)
      }
      let (isTruncated, next): (Bool, String?)
      do throws(StoreDocument.Fault) {
        let root = try StoreDocument(answer.whole.body).root
        for part in root.elements("Part") {
          guard let number = try part.text(of: "PartNumber").flatMap({ Int($0) }),
            let byteCount = try part.text(of: "Size").flatMap({ Int($0) }), let etag = try part.text(of: "ETag")
          else { continue }
          taken[number] = (byteCount, etag.filter { $0 != "\"" })
        }
        isTruncated = try root.isTruncated()
        next = try root.text(of: "NextPartNumberMarker")
      } catch {
        throw error.error(of: "the store's list of the parts of \(shown(file.key))")
      }
      guard !isTruncated || markers.take(next) else {
        throw TarnError(.integrity, "the store's list of the parts of \(shown(file.key)) has no end")
      }
      marker = isTruncated ? next : nil
    } while marker != nil
    state.parts.removeAll { part in
      taken[part.number].map { $0.byteCount != part.byteCount || $0.etag != part.etag } ?? true
    }
    return state
  }

  /// Makes sure that the store takes an object of a key, as far as it tells that without one: an upload is begun and given
  /// up, which leaves nothing.
  ///
  /// - Parameter key: The key, below the prefix.
  /// - Throws: ``TarnError`` where it refuses, and where it fails for longer than patience.
  package func requireWritable(_ key: String) throws(TarnError) {
    let question = beginning(key)
    let answer = try ask(question)
    switch answer.verdict {
    // One that may not be given up has no part, and goes by the bucket's rule for such.
    case .done: _ = try? abort(key, uploadID(in: answer.whole, of: key))
    case .refused: throw failure(answer, "writing", key)
    // What it cannot do says nothing of small objects.
    case .absent, .unsupported, .conditionFailed, .later: break
    }
  }

  private func beginning(_ key: String) -> Question {
    var question = Question(method: "POST", key: key)
    question.query = [("uploads", "")]
    question.body = { RequestBody([]) }
    question.root = "InitiateMultipartUploadResult"
    return question
  }

  private func uploadID(in answer: StoreAnswer, of key: String) throws(TarnError) -> String {
    let uploadID: String?
    do throws(StoreDocument.Fault) {
      uploadID = try StoreDocument(answer.body).root.text(of: "UploadId")
    } catch {
      throw error.error(of: "the store's answer for \(shown(key))")
    }
    guard let uploadID, !uploadID.isEmpty else {
      throw TarnError(.integrity, "the store began an upload of \(shown(key)) without a name")
    }
    return uploadID
  }

  private func begin(_ file: Upload, _ size: Int, _ statePath: String) throws(TarnError) -> State {
    var question = beginning(file.key)
    question.fields = [(Self.digestField, file.digest.hex)]
    let uploadID = try uploadID(in: require(question, "writing", file.key), of: file.key)
    let state = State(key: prefix + file.key, sha256: file.digest, partByteCount: size, uploadID: uploadID)
    try keep(state, statePath)
    return state
  }

  private func keep(_ state: State, _ path: String) throws(TarnError) {
    try TarnError.storing {
      try Disk.makeDirectory(path.parentPath)
      try Disk.writeAtomically(Array(try JSONEncoder().encode(state)), to: path)
    }
  }

  private func send(
    _ file: Upload, _ state: inout State, _ statePath: String, _ report: (Int) -> Void
  ) throws(TarnError) {
    var whole = Sha256()
    let starts = Array(stride(from: 0, to: file.byteCount, by: state.partByteCount))
    for (index, start) in starts.enumerated() {
      let range = start..<min(start + state.partByteCount, file.byteCount)
      var own = Sha256()
      try read(file, range) {
        whole.update($0)
        own.update($0)
      }
      let digest = own.finalize()
      // The last part goes only when the file has turned out to be what it should be.
      if index + 1 == starts.count, whole.digestSoFar() != file.digest { throw file.damage }
      if state.parts.contains(where: { $0.number == index + 1 && $0.sha256 == digest }) {
        report(range.count)
        continue
      }
      var question = Question(method: "PUT", key: file.key)
      question.query = [("partNumber", String(index + 1)), ("uploadId", state.uploadID)]
      question.body = { RequestBody(of: file.descriptor, range) }
      question.payload = digest
      let answer = try require(question, "writing a part of", file.key)
      guard let etag = answer.head.value("etag")?.filter({ $0 != "\"" }), !etag.isEmpty else {
        throw TarnError(.integrity, "the store took a part of \(shown(file.key)) without a tag")
      }
      state.parts.removeAll { $0.number == index + 1 }
      state.parts.append(State.Part(number: index + 1, byteCount: range.count, etag: etag, sha256: digest))
      try keep(state, statePath)
      report(range.count)
    }
  }

  private func complete(_ file: Upload, _ state: State) throws(TarnError) -> Outcome {
    let parts = state.parts.sorted { $0.number < $1.number }.map { part in
      "<Part><PartNumber>\(part.number)</PartNumber><ETag>\(StoreDocument.escaped("\"\(part.etag)\""))</ETag></Part>"
    }
    let text = "<CompleteMultipartUpload>\(parts.joined())</CompleteMultipartUpload>"
    var question = Question(method: "POST", key: file.key)
    question.query = [("uploadId", state.uploadID)]
    question.body = { RequestBody(Array(text.utf8)) }
    question.payload = .of(text)
    question.condition = .ifAbsent
    question.root = "CompleteMultipartUploadResult"
    // The store puts the parts together before it answers.
    question.answerTimeout = Self.assemblyTimeout
    let answer = try ask(question)
    switch answer.verdict {
    case .done: return .written
    case .absent, .conditionFailed:
      // Completed by an answer that was lost, or by another push of the same file.
      guard let known = try there(file.key, file.byteCount, file.digest) else {
        throw failure(answer, "completing", file.key)
      }
      // What is left of this one is of no use to anybody.
      _ = try abort(file.key, state.uploadID)
      return known == .taken ? .taken : .written
    default: throw failure(answer, "completing", file.key)
    }
  }

  /// Gives an upload up, and its parts.
  ///
  /// - Returns: Whether the store has none of it any more.
  private func abort(_ key: String, _ uploadID: String) throws(TarnError) -> Bool {
    var question = Question(method: "DELETE", key: key)
    question.query = [("uploadId", uploadID)]
    switch try ask(question).verdict {
    case .done, .absent: return true
    default: return false
    }
  }
}
