// API paths that answer what a verb of the command line prints with --json.

internal import Base
internal import Foundation
internal import Lake

extension RequestHandler {
  /// Answers a path of the API with what its verb prints.
  func verbAnswer(_ verb: ServeRoute.Verb, _ request: ServeRequest) throws -> ServeAnswer {
    if verb == .locate { return try locateAnswer(request) }
    return try run(try arguments(verb, request.target), time: limits.verbTime, request)
  }

  /// What `locate` prints; of rows that must not be shown, that they are excluded and no more.
  private func locateAnswer(_ request: ServeRequest) throws -> ServeAnswer {
    let (name, ids) = try located(request.target)
    let catalog = try LakeCatalog.open(root: lake, writing: nil)
    // A version that is not there is the verb's to say.
    let version = try? catalog.versionName(name)
    let hidden = try version.flatMap { try catalog.hiddenRows(of: $0)?.all }
    let shown = ids.filter { hidden?.contains($0) != true }
    var found: [JSONValue] = []
    if !shown.isEmpty {
      let answer = try run(
        ["locate", version.map { "\($0)" } ?? name] + shown.map(String.init), time: limits.verbTime, request)
      guard answer.isGood, shown.count < ids.count else { return answer }
      found = answer.document?.elements ?? []
    }
    var left = found[...]
    return .json(
      .array(
        ids.map { id in
          guard hidden?.contains(id) == true else { return left.popFirst() ?? .null }
          let nothing = ["source", "shard", "row", "sha256", "url"].map { ($0, JSONValue.null) }
          return .object(
            Dictionary(uniqueKeysWithValues: nothing + [("id", .integer(id)), ("excluded", .bool(true))]))
        }))
  }

  /// The version and the rows that are asked about.
  private func located(_ target: RequestTarget) throws -> (version: String, ids: [RowID]) {
    let name = try target["version"].map(Self.checked) ?? "\(versions.named(nil).name)"
    let ids = try target.items.filter { $0.name == "id" }.map { item in
      guard let id = Int64(item.value), id >= 0 else {
        throw TarnError(.usage, "'\(item.value.printable)' is not a row id")
      }
      return id
    }
    guard !ids.isEmpty, ids.count <= 1000 else {
      throw TarnError(.usage, "\(ids.count) ids are named, not 1 to 1000", hint: "ask for ?id=0&id=1")
    }
    return (name, ids)
  }

  /// The verb's words; nothing of a request passes that is no name, version or number.
  private func arguments(_ verb: ServeRoute.Verb, _ target: RequestTarget) throws -> [String] {
    switch verb {
    case .status, .versions: return [verb.rawValue]
    case .sources: return ["source", "list"]
    case .show:
      guard let name = target["name"] else { throw TarnError(.usage, "name is missing", hint: "ask for ?name=NAME@N") }
      return ["show", try Self.checked(name)]
    case .locate, .sql: preconditionFailure("they have ways of their own")
    }
  }

  /// A name or a version, as it was written: neither begins with a dash.
  static func checked(_ text: String) throws -> String {
    if !LakeName.isValid(text) { _ = try VersionName(parsing: text) }
    return text
  }

  private func run(_ arguments: [String], time: Duration, _ request: ServeRequest) throws -> ServeAnswer {
    let outcome = try verbs.run(
      arguments, limit: limits.answerByteCount, time: time, isGone: request.isGone)
    return refusal(of: outcome, time) ?? ServeAnswer(200, ServeAnswer.jsonType, outcome.output)
  }

  /// The error that a verb ended with; nil where it did what it was asked.
  private func refusal(of outcome: VerbProcess.Outcome, _ time: Duration) -> ServeAnswer? {
    if outcome.isOverdue {
      return .error(503, "the answer took longer than \(Int(time.seconds)) s", hint: "ask for less")
    }
    if outcome.isCut { return LongAnswerError(limit: limits.answerByteCount).answer }
    guard outcome.status != 0 else { return nil }
    // The last line: an SQL error may come after rows.
    let text = String(decoding: outcome.output, as: UTF8.self)
    let error = text.split(separator: "\n").last.flatMap { JSONValue(parsing: String($0)) }?["error"]
    let status =
      switch outcome.status {
      case 64: 400
      case 11, 21, 28, 75, 130, 143: 503
      default: 500
      }
    return .error(
      status, error?["message"]?.string ?? "the verb ended with \(outcome.status)",
      hint: error?["hint"]?.string.flatMap(Self.hint))
  }

  /// What a verb says is to be done, where who asks a server can do it: it gives no options.
  private static func hint(_ text: String) -> String? { text.contains("--") && !text.contains("`tarn") ? nil : text }

  /// The neighbours of a row, as `tarn search --like` finds them: by the row's own features where its shard is here.
  func likeAnswer(_ id: RowID, in version: ServedVersion, _ asked: Asked) throws -> ServeAnswer {
    guard id >= 0 else { throw TarnError(.notFound, "\(version.name) has no row \(id)") }
    let gone = GoneError("row \(id) of \(version.name) is excluded", hint: nil)
    guard !version.hides(id) else { throw gone }
    var more = asked.unique.map { ["--unique", "\($0)"] } ?? []
    // A text that a parser has read, and one word whatever it begins with. The verb's own notes are lost: what they say
    // is in the filter's shortcomings.
    if let condition = asked.condition {
      guard !condition.written.contains("\0") else {
        throw TarnError(.usage, "a where with the character U+0000 does not go with like")
      }
      more.append("--where=\(condition.written)")
    }
    let outcome = try verbs.run(
      ["search", "\(version.name)", "--like", "\(id)", "-k", "\(asked.k)", "--nprobe", "\(asked.nprobe)"] + more,
      limit: limits.answerByteCount, time: limits.verbTime, isGone: asked.isGone)
    guard let refusal = refusal(of: outcome, limits.verbTime) else {
      return .lines(outcome.output)
    }
    // The verb looks at the catalog as it is now, and says why; who asks a server is told that it is so.
    let hidden = try? LakeCatalog.open(root: lake, writing: nil).hiddenRows(of: version.name)
    if !outcome.isOverdue, !outcome.isCut, hidden?.all.contains(id) == true { throw gone }
    return refusal
  }

  /// As ``likeAnswer(_:in:_:)``, the rows alone.
  ///
  /// - Throws: ``AnswerError`` with the answer where that is none; as ``likeAnswer(_:in:_:)`` does.
  func neighbors(ofRow id: RowID, in version: ServedVersion, _ asked: Asked) throws -> [Neighbor] {
    let answer = try likeAnswer(id, in: version, asked)
    guard answer.isGood else { throw AnswerError(answer: answer) }
    let line = answer.document
    guard let ids = line?["ids"]?.elements, let scores = line?["scores"]?.elements else {
      throw TarnError(.engine, "`tarn search` did not print the neighbours of row \(id) of \(version.name)")
    }
    return zip(ids, scores).compactMap { id, score in
      guard let id = id.integer, case .number(let score) = score else { return nil }
      return Neighbor(id: id, score: Float(score))
    }
  }

  /// `POST /api/sql`: the rows of a SELECT, as `tarn sql --json` prints them.
  ///
  /// `{"sql": TEXT}`, with `"first": N` for the first rows alone; then `Tarn-More: true` says that there are others.
  func sqlAnswer(_ request: ServeRequest) throws -> ServeAnswer {
    let body = try JSONBody(request.body)
    guard let sql = try body.text("sql") else { throw TarnError(.usage, "sql is missing") }
    guard sql.utf8.count <= limits.sqlByteCount else {
      throw TarnError(.usage, "the statement is longer than \(ByteSize.text(limits.sqlByteCount))")
    }
    let first = try body.whole("first")
    guard (1...limits.sqlRowCount).contains(first ?? 1) else {
      throw TarnError(.usage, "first is not in 1...\(limits.sqlRowCount)")
    }
    let most = first ?? limits.sqlRowCount
    let outcome = try verbs.run(
      ["sql", "-", "--format", "jsonl", "--timeout", "\(Int(limits.sqlTime.seconds))s"], input: Array(sql.utf8),
      limit: limits.answerByteCount, lines: most, time: limits.sqlTime + .seconds(3), isGone: request.isGone)
    var lines = outcome.output.split(separator: UInt8(ascii: "\n"))
    // The last line of what was cut is no whole one.
    if outcome.isCut, outcome.output.last != UInt8(ascii: "\n") { lines.removeLast() }
    let hasMore = outcome.isCut || lines.count > most
    if !hasMore || first == nil && lines.count <= most, let refusal = refusal(of: outcome, limits.sqlTime) {
      // The verb's own limit, which the server gave it.
      let isOverdue = String(decoding: refusal.body, as: UTF8.self).contains(QueryConsole.overdue.message)
      return isOverdue
        ? .error(
          503, "the query ran longer than \(Int(limits.sqlTime.seconds)) s", hint: "ask for less, with WHERE or LIMIT")
        : refusal
    }
    guard !hasMore || first != nil else {
      return .error(
        413, "the answer has more than \(limits.sqlRowCount) rows", hint: "add LIMIT, or ask for the first rows alone")
    }
    let text = "[\(lines.prefix(most).map { String(decoding: $0, as: UTF8.self) }.joined(separator: ",\n"))]\n"
    var answer = ServeAnswer(200, ServeAnswer.jsonType, Array(text.utf8))
    if hasMore { answer.headers["Tarn-More"] = "true" }
    return answer
  }
}
