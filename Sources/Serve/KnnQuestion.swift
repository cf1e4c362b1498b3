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
