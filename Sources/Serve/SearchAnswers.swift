// Answers that come of a search: clip-retrieval's, and the lines that `tarn search --json` prints.

internal import Base
internal import Lake

extension RequestHandler {
  /// The cosine from which on clip-retrieval takes two results for one.
  private static let duplicateCosine = 0.94

  /// `POST /knn-service`.
  func knn(_ request: ServeRequest, done: @escaping Done) throws {
    let asked = try KnnQuestion(parsing: request.body, atMost: limits.neighbors)
    let version = try versions.named(asked.index)
    let wanted: Wanted =
      switch asked.subject {
      case .vector(let vector): .vectors([vector])
      case .encoded(let input): .encoded(input)
      }
    let search = Asked(
      k: asked.resultCount, nprobe: nprobe, unique: asked.isDeduplicated ? Self.duplicateCosine : nil,
      condition: try condition(asked.condition, of: version), isGone: request.isGone)
    try find(wanted, in: version, as: search, done: done) { found, _ in
      let hits = found[0]
      let columns = try self.values(of: hits.prefix(asked.imageCount).map(\.id), in: version, request.isGone)
      return ServeAnswer(
        200, ServeAnswer.jsonType,
        KnnHits.json(hits, whole: asked.imageCount, columns: columns) { version.places.place(of: $0) })
    }
  }

  /// `POST /metadata`.
  func metadata(_ request: ServeRequest) throws -> ServeAnswer {
    let body = try JSONBody(request.body)
    let version = try versions.named(body.text("indice_name"))
    guard case .array(let elements)? = body.value("ids"), elements.count <= limits.neighbors else {
      throw TarnError(.usage, "ids is not an array of at most \(limits.neighbors) row ids")
    }
    let ids = try elements.map { element in
      guard let id = element.integer else { throw TarnError(.usage, "ids holds what is no row id") }
      return id
    }
    let places = try ids.map { id in
      guard let place = version.places.place(of: id) else {
        throw TarnError(.notFound, "\(version.name) has no row \(id)")
      }
      return place
    }
    let columns = try values(of: ids, in: version, request.isGone)
    return .json(
      .array(
        zip(ids, places).enumerated().map { rank, row in
          var own: [String: JSONValue] = ["shard": .string(row.1.shard), "row": .count(row.1.row)]
          // Nothing is said of a row that is excluded, not even whose it is.
          if version.hides(row.0) { own = ["shard": .null, "row": .null] }
          return .object([
            "id": .integer(row.0), "metadata": .object((columns?[rank] ?? [:]).merging(own) { $1 }),
          ])
        }))
  }

  /// `POST /api/search`.
  func search(_ request: ServeRequest, done: @escaping Done) throws {
    let body = try JSONBody(request.body, floats: ["vectors"])
    try body.require(only: ["version", "k", "nprobe", "vectors", "text", "like", "columns", "unique", "where"])
    let version = try versions.named(body.text("version"))
    let k = try body.whole("k") ?? 10
    guard (1...limits.neighbors).contains(k) else {
      throw TarnError(.usage, "k is \(k), not in 1...\(limits.neighbors)")
    }
    let nprobe = try body.whole("nprobe") ?? self.nprobe
    guard nprobe >= 1 else { throw TarnError(.usage, "nprobe is \(nprobe), must be at least 1") }
    // Lines are those of `tarn search`, so a header says that there are fewer lists than were asked for.
    let isCut = nprobe > version.nlist
    let told: Done = { answer in
      var answer = answer
      if isCut, answer.isGood { answer.headers["Tarn-Lists"] = "\(version.nlist)" }
      done(answer)
    }
    let wanted = try wanted(body)
    let columns = try body.names("columns")
    if case .these(let names) = columns { try version.requireShown(names, by: "columns") }
    let unique = try body.number("unique")
    guard unique.map({ $0 > 0 && $0 <= 1 }) ?? true else {
      throw TarnError(.usage, "unique is not above 0 and at most 1")
    }
    let asked = Asked(
      k: k, nprobe: nprobe, unique: unique, condition: try condition(body.text("where"), of: version),
      isGone: request.isGone)
    if case .row(let id) = wanted {
      return try filtered(asked, of: version, done: told) { handler, asked, done in
        handler.work(on: handler.catalog, done) { handler in
          let answer = try handler.likeAnswer(id, in: version, asked)
          guard answer.isGood, case .object(var line)? = answer.document else { return answer }
          let ids = (line["ids"]?.elements ?? []).compactMap(\.integer)
          let notes = asked.notes([ids.count], in: version, for: .program)
          let values = try handler.values(of: ids, only: columns, in: version, request.isGone)
          // The verb's own bytes where there is nothing to add.
          guard values != nil || !notes.isEmpty else { return answer }
          if let values { line["columns"] = .array(values.map { .object($0) }) }
          if !notes.isEmpty { line["notes"] = .strings(notes) }
          return .lines(JSONValue.object(line).line)
        }
      }
    }
    try find(wanted, in: version, as: asked, done: told) { found, asked in
      var lines: [UInt8] = []
      for (query, row) in found.enumerated() {
        try self.requireRoom(forByteCount: lines.count)
        var line = SearchLine.json(query: query, row, places: row.map { version.places.place(of: $0.id) })
        if let values = try self.values(
          of: row.map(\.id), only: columns, in: version, request.isGone, after: lines.count)
        {
          line["columns"] = .array(values.map { .object($0) })
        }
        let notes = asked.notes([row.count], in: version, for: .program)
        if !notes.isEmpty { line["notes"] = .strings(notes) }
        lines += JSONValue.object(line).line
      }
      return .lines(lines)
    }
  }

  private func requireRoom(forByteCount count: Int) throws {
    guard count <= limits.answerByteCount else { throw LongAnswerError(limit: limits.answerByteCount) }
  }

  /// What companions say of rows; nothing where none is shown.
  ///
  /// - Parameters:
  ///   - ids: The rows.
  ///   - names: The columns that are wanted, of those that are shown.
  ///   - version: Their version.
  ///   - isGone: Whether who asked has gone away.
  ///   - byteCount: Bytes of the answer so far.
  /// - Returns: As ``ServedVersion/values(of:)``.
  /// - Throws: ``LongAnswerError`` once they are more than an answer may be long; ``TarnError``.
  func values(
    of ids: [RowID], only names: JSONBody.Names = .everything, in version: ServedVersion, _ isGone: () -> Bool,
    after byteCount: Int = 0
  ) throws -> [[String: JSONValue]]? {
    let wanted: Set<String>?
    switch names {
    case .nothing: return nil
    case .everything: wanted = nil
    case .these(let names): wanted = Set(names)
    }
    var (found, byteCount): ([[String: JSONValue]], Int) = ([], byteCount)
    for first in stride(from: 0, to: max(ids.count, 1), by: 256) {
      if isGone() { throw TarnError.interrupted }
      guard var values = try version.values(of: Array(ids[first..<min(first + 256, ids.count)])) else { return nil }
      if let wanted { values = values.map { row in row.filter { wanted.contains($0.key) } } }
      byteCount += values.lazy.map { JSONValue.object($0).leastByteCount }.reduce(0, +)
      try requireRoom(forByteCount: byteCount)
      found += values
    }
    return found
  }

  private func wanted(_ body: JSONBody) throws -> Wanted {
    var found: [Wanted] = []
    if let vectors = try body.vectors("vectors", atMost: limits.batchQueries) { found.append(.vectors(vectors)) }
    if let text = try body.text("text"), !text.isEmpty { found.append(.encoded(.text(text))) }
    if let id = body.value("like") {
      guard let id = id.integer else { throw TarnError(.usage, "like is not a row id") }
      found.append(.row(id))
    }
    guard found.count == 1 else {
      throw TarnError(.usage, "one of vectors, text and like is to be there, not \(found.count)")
    }
    return found[0]
  }

  /// `GET /config.json`, for clip-retrieval's pages.
  func config(_ request: ServeRequest) -> ServeAnswer {
    let scheme = request.head.values("x-forwarded-proto") == ["https"] ? "https" : "http"
    return .json(
      .object([
        "defaultBackend": .string("\(scheme)://\(request.head.values("host").first ?? "")"),
        "defaultIndex": .optional(versions.all.first.map { "\($0.name)" }), "urlColumn": .string("url"),
      ]))
  }
}

extension JSONValue {
  /// About how many bytes its text has at least.
  fileprivate var leastByteCount: Int {
    switch self {
    case .null, .bool, .integer, .number: 1
    case .string(let text): text.utf8.count + 2
    case .array(let values): values.lazy.map { $0.leastByteCount + 1 }.reduce(1, +)
    case .object(let members): members.lazy.map { $0.key.utf8.count + $0.value.leastByteCount + 4 }.reduce(1, +)
    }
  }
}
