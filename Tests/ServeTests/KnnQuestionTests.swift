// What clip-retrieval's clients send, and what others send to the same address.

import Base
import Foundation
import Lake
import Serve
import Testing

@Suite struct KnnQuestionTests {
  private func parse(_ text: String) throws -> KnnQuestion { try KnnQuestion(parsing: Array(text.utf8), atMost: 1000) }

  /// All the members that ClipClient posts, nulls among them.
  private func client(_ subject: String) -> String {
    let nulls = ["text", "image", "image_url", "embedding_input"].filter { !subject.contains("\"\($0)\"") }
      .map { "\"\($0)\": null" }
    return """
      {\((nulls + [subject]).joined(separator: ", ")), "deduplicate": true, "use_safety_model": true,
      "use_violence_detector": true, "indice_name": "laion@1", "use_mclip": false, "aesthetic_score": 9,
      "aesthetic_weight": 0.5, "modality": "image", "num_images": 40, "num_result_ids": 40}
      """
  }

  @Test func theClientIsUnderstood() throws {
    let asked = try parse(client("\"embedding_input\": [1, -0.5, 2e-3]"))
    #expect(asked.subject == .vector([1, -0.5, 0.002]) && asked.index == "laion@1")
    #expect(asked.imageCount == 40 && asked.resultCount == 40 && asked.isDeduplicated)
    #expect(try parse(client("\"text\": \"a red bike\"")).subject == .encoded(.text("a red bike")))
    #expect(try parse(client("\"image\": \"AAEC\"")).subject == .encoded(.image([0, 1, 2])))
  }

  @Test func whatIsOptionalMayBeLeftOut() throws {
    let asked = try parse(
      #"{"text": "x", "modality": "text", "num_images": 3, "indice_name": null, "aesthetic_score": ""}"#)
    #expect(asked.condition == nil)
    #expect(
      try parse(#"{"text": "x", "modality": "text", "num_images": 3, "indice_name": null, "where": "n = 1"}"#).condition
        == "n = 1")
    #expect(asked.index == nil && asked.resultCount == 3 && !asked.isDeduplicated)
  }

  @Test(arguments: [
    "", "[]", "{", "null", #"{"text": "x"}"#, #"{"text": "x", "modality": "image", "num_images": 3}"#,
    #"{"text": "x", "modality": "sound", "num_images": 3, "indice_name": "v"}"#,
    #"{"text": "x", "modality": "image", "num_images": "3", "indice_name": "v"}"#,
    #"{"text": "x", "modality": "image", "num_images": 0, "indice_name": "v"}"#,
    #"{"text": "x", "modality": "image", "num_images": -1, "num_result_ids": 3, "indice_name": "v"}"#,
    #"{"text": "x", "modality": "image", "num_images": 3, "num_result_ids": 1001, "indice_name": "v"}"#,
    #"{"text": "x", "modality": "image", "num_images": 99999999999999999999, "indice_name": "v"}"#,
    #"{"modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"text": "", "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"text": "x", "embedding_input": [1], "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"image_url": "http://169.254.169.254/", "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"image": "!", "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"embedding_input": [], "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"embedding_input": [0, 0], "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"embedding_input": [1e39], "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"embedding_input": [null], "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"embedding_input": "1", "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"text": "x", "text": "y", "modality": "image", "num_images": 3, "indice_name": "v"}"#,
    #"{"text": "x", "modality": "image", "num_images": 3, "indice_name": 7}"#,
    #"{"text": "x", "modality": "image", "num_images": 3, "indice_name": "v", "deduplicate": "yes"}"#,
  ])
  func whatIsNoQuestionIsRefused(text: String) { #expect(throws: (any Error).self) { try parse(text) } }

  /// A vector that is read straight into floats, and one that is not for what stands beside it, are told the same.
  @Test func whatIsNoVectorIsToldWhatItLacks() throws {
    let (other, zeros) = ("holds what is no number of float32", "holds zeros alone; no row is nearest to it")
    for (vector, said) in [
      ("[[1]]", other), ("[1, null]", other), ("[1e39]", other), ("[0, -0.0]", zeros), ("[]", zeros),
      ("7", "is not an array of numbers"), ("[3e38, 3e38]", "is so long that its scores are beyond float32"),
    ] {
      let error = #expect(throws: TarnError.self, "\(vector)") { try parse(with(vector)) }
      #expect(error?.message == "embedding_input \(said)", "\(vector)")
    }
    for (vector, said) in [("[1e999]", "byte 105: a number is too large"), ("[1,]", "byte 102: no value begins so")] {
      let error = #expect(throws: TarnError.self, "\(vector)") { try parse(with(vector)) }
      #expect(error?.message == "the body is no JSON: \(said)", "\(vector)")
    }
  }

  private func with(_ vector: String) -> String {
    #"{"modality": "image", "num_images": 3, "num_result_ids": 3, "indice_name": "v", "embedding_input": \#(vector)}"#
  }

  @Test func hitsAreToldAsTheProtocolSays() {
    let hits = [Neighbor(id: 7, score: 0.1), Neighbor(id: 1 << 60, score: -2), Neighbor(id: 3, score: 0.5)]
    func place(_ id: RowID) -> (shard: String, row: Int)? { id == 7 ? ("é\u{202E}.npy", 5) : nil }
    let told = KnnHits.json(
      hits, whole: 2,
      columns: [["caption": .string("a"), "id": .string("x"), "zeta": .null], ["shard": .string("s")]], place: place)
    #expect(
      String(decoding: told, as: UTF8.self) == """
        [{"caption":"a","id":7,"row":5,"shard":"é\\u202e.npy","similarity":0.10000000149011612,"zeta":null},\
        {"id":1152921504606846976,"similarity":-2.0},{"id":3,"similarity":0.5}]

        """)
    #expect(
      String(decoding: KnnHits.json([hits[0]], whole: 1, columns: nil, place: place), as: UTF8.self)
        == "[{\"id\":7,\"row\":5,\"shard\":\"é\\u202e.npy\",\"similarity\":0.10000000149011612}]\n")
    #expect(KnnHits.json([], whole: 0, columns: nil, place: place) == Array("[]\n".utf8))
  }
}
