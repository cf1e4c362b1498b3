// clip-retrieval's protocol, as its own client speaks it: what is asked, and how hits are told.

internal import Base
internal import Foundation
package import Lake

/// What `POST /knn-service` asks.
package struct KnnQuestion: Sendable, Equatable {
  package enum Subject: Sendable, Equatable {
    case vector([Float])
    case encoded(EncoderInput)
  }

  package let subject: Subject
  /// The version; nil for the first that is served.
  package let index: String?
  /// Hits with their columns.
  package let imageCount: Int
  /// Hits.
  package let resultCount: Int
  package let isDeduplicated: Bool
  /// A condition on columns of the rows; nil for all rows.
  ///
  /// tarn's own: the original server has none.
  package let condition: String?

  /// Reads a body.
  ///
  /// Members that say what models of the original server are to do with results (`use_safety_model`,
  /// `use_violence_detector`, `aesthetic_score`, `aesthetic_weight`, `use_mclip`) are accepted and change nothing, as there
  /// where no such model is loaded.
  ///
  /// - Parameters:
  ///   - body: JSON, whatever its content type says.
  ///   - most: Hits that may be asked for.
  /// - Throws: ``TarnError`` `.usage`.
  package init(parsing body: [UInt8], atMost most: Int) throws {
    let document = try JSONBody(body, floats: ["embedding_input"])
    let modality = try document.text("modality")
    guard ["image", "text"].contains(modality) else {
      throw TarnError(.usage, "modality is '\((modality ?? "missing").printable)', not image or text")
    }
    guard document.has("indice_name") else {
      throw TarnError(.usage, "indice_name is missing", hint: "GET /indices-list lists them")
    }
    index = try document.text("indice_name")
    guard let images = try document.whole("num_images") else { throw TarnError(.usage, "num_images is missing") }
    let results = try document.whole("num_result_ids") ?? images
    guard (1...most).contains(results), images >= 0 else {
      throw TarnError(.usage, "\(results) results are asked for, not 1 to \(most)")
    }
    (imageCount, resultCount) = (images, results)
    isDeduplicated = try document.flag("deduplicate") ?? false
    condition = try document.text("where")
    var subjects: [Subject] = []
    if let text = try document.text("text"), !text.isEmpty { subjects.append(.encoded(.text(text))) }
    if let image = try document.text("image"), !image.isEmpty {
      guard let bytes = Data(base64Encoded: image, options: .ignoreUnknownCharacters), !bytes.isEmpty else {
        throw TarnError(.usage, "image is not base64")
      }
      subjects.append(.encoded(.image([UInt8](bytes))))
    }
    if let address = try document.text("image_url"), !address.isEmpty {
      throw TarnError(.usage, "image_url is not fetched here", hint: "send the picture itself, as image in base64")
    }
    if let vector = try document.vector("embedding_input") { subjects.append(.vector(vector)) }
    guard subjects.count == 1 else {
      throw TarnError(.usage, "one of text, image and embedding_input is to be there, not \(subjects.count)")
    }
    subject = subjects[0]
  }
}

/// A JSON object that somebody sent.
struct JSONBody {
  private let members: [String: JSONValue]
  /// Members that were read as floats.
  private let floats: [String: JSONFloats]

  /// Reads a body.
  ///
  /// - Parameters:
  ///   - body: JSON, whatever its content type says.
  ///   - names: Members that are meant to hold vectors.
  /// - Throws: ``TarnError`` `.usage` for what is no JSON object.
  init(_ body: [UInt8], floats names: [String] = []) throws {
    do {
      let (value, floats) = try JSONValue.reading(body, floatsOf: names)
      guard case .object(let members) = value else { throw TarnError(.usage, "the body is not a JSON object") }
      (self.members, self.floats) = (members, floats)
    } catch let fault as JSONFault {
      throw TarnError(.usage, "the body is no JSON: byte \(fault.offset): \(fault.message)")
    }
  }

  func has(_ name: String) -> Bool { members[name] != nil }

  /// Refuses members of other names: one that is spelt wrongly would do nothing.
  func require(only names: Set<String>) throws {
    guard let other = members.keys.filter({ !names.contains($0) }).min() else { return }
    throw TarnError(
      .usage, "there is no member '\(other.printable)'", hint: "they are \(names.sorted().joined(separator: ", "))")
  }

  /// A member; nil where it is null or not there.
  func value(_ name: String) -> JSONValue? { members[name].flatMap { $0 == .null ? nil : $0 } }

  func text(_ name: String) throws -> String? {
    guard let value = value(name) else { return nil }
    guard let text = value.string else { throw TarnError(.usage, "\(name) is not a string") }
    return text
  }

  func whole(_ name: String) throws -> Int? {
    switch value(name) {
    case nil: return nil
    case .integer(let number): return Int(number)
    case .number(let number) where Int(exactly: number) != nil: return Int(number)
    default: throw TarnError(.usage, "\(name) is not a whole number")
    }
  }

  func number(_ name: String) throws -> Double? {
    switch value(name) {
    case nil: return nil
    case .integer(let number): return Double(number)
    case .number(let number): return number
    default: throw TarnError(.usage, "\(name) is not a number")
    }
  }

  func flag(_ name: String) throws -> Bool? {
    switch value(name) {
    case nil: return nil
    case .bool(let flag): return flag
    default: throw TarnError(.usage, "\(name) is not true or false")
    }
  }

  /// A vector: finite floats, not all zero.
  func vector(_ name: String) throws -> [Float]? {
    switch floats[name] {
    case nil: try value(name).map { try Self.vector($0, name) }
    case .row(let row): try Self.vector(row, name)
    case .rows: throw TarnError(.usage, "\(name) holds what is no number of float32")
    }
  }

  /// Vectors, an array of each.
  ///
  /// - Parameters:
  ///   - name: Of the member.
  ///   - most: How many there may be, one at least.
  /// - Returns: The vectors; nil where the member is no array.
  /// - Throws: ``TarnError`` `.usage` for what is no vector, and for too many.
  func vectors(_ name: String, atMost most: Int) throws -> [[Float]]? {
    func check(_ count: Int) throws {
      guard (1...most).contains(count) else {
        throw TarnError(.usage, "\(name) holds \(count) rows, not 1 to \(most)")
      }
    }
    switch floats[name] {
    case .rows(let rows):
      try check(rows.count)
      return try rows.map { try Self.vector($0, name) }
    case .row(let row):
      try check(row.count)
      throw TarnError(.usage, "\(name) is not an array of numbers")
    case nil:
      guard case .array(let rows)? = value(name) else { return nil }
      try check(rows.count)
      return try rows.map { try Self.vector($0, name) }
    }
  }

  /// An array of finite floats, not all zero.
  static func vector(_ value: JSONValue, _ name: String) throws -> [Float] {
    guard case .array(let elements) = value else { throw TarnError(.usage, "\(name) is not an array of numbers") }
    let floats = try elements.map { element in
      switch element {
      case .integer(let number): return Float(number)
      case .number(let number) where Float(number).isFinite: return Float(number)
      default: throw TarnError(.usage, "\(name) holds what is no number of float32")
      }
    }
    return try vector(floats, name)
  }

  private static func vector(_ floats: [Float], _ name: String) throws -> [Float] {
    guard floats.contains(where: { $0 != 0 }) else {
      throw TarnError(.usage, "\(name) holds zeros alone; no row is nearest to it")
    }
    guard floats.hasFiniteScores else {
      throw TarnError(.usage, "\(name) is so long that its scores are beyond float32")
    }
    return floats
  }
}

/// Hits, as the protocol tells them.
package enum KnnHits {
  /// What tarn itself says of a hit, should a column be called the same.
  private static let ownNames = ["id", "row", "shard", "similarity"]

  /// The hits as JSON.
  ///
  /// - Parameters:
  ///   - hits: Best first.
  ///   - count: Of how many all that is known is told; of others the id and the similarity.
  ///   - columns: What is known of each of those; nil for nothing.
  ///   - place: Where a row comes from.
  /// - Returns: An array, and a line end.
  package static func json(
    _ hits: [Neighbor], whole count: Int, columns: [[String: JSONValue]]?,
    place: (RowID) -> (shard: String, row: Int)?
  ) -> [UInt8] {
    var writer = JSONWriter(escapesHidden: true)
    writer.append(array: hits.enumerated()) { writer, hit in
      let (rank, neighbor) = hit
      var members: [(key: String, value: JSONValue)] = [("id", .integer(neighbor.id))]
      if rank < count, let place = place(neighbor.id) {
        members += [("row", .count(place.row)), ("shard", .string(place.shard))]
      }
      members.append(("similarity", .number(Double(neighbor.score))))
      if rank < count, let own = columns?[rank], !own.isEmpty {
        members += own.filter { !ownNames.contains($0.key) }
        members.sort { $0.key < $1.key }
      }
      writer.append(members: members)
    }
    writer.append(raw: "\n")
    return writer.bytes
  }
}
