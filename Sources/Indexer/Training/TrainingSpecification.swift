// The specification of a trained index, read back: what encodes rows or trains
// again from the record alone needs to know of it.

package import Base
internal import Foundation

/// What a trained index's specification says that its record has no column for.
package struct TrainingSpecification: Sendable, Equatable {
  /// What was done about rows that are not of unit length.
  package let normalisation: Normalisation
  /// How the codec's ranges followed from the training rows.
  package let ranges: RangeStatistic
  /// How its router was trained; `none` where it has none.
  package let router: RouterOptions
  /// How the codes are stored that order the best rows again; nil where there are none.
  ///
  /// Their ranges are the codec's default ones, of the same rows.
  package let refine: VectorCodec?
  /// Places in their sources of the shards that were trained on, ascending.
  package let shards: [Int]
  /// Drawn rows that were left out as they are bad on either side of their pair,
  /// ascending, by the place of their shards.
  package let leftOut: [Int: [UInt32]]

  /// How nearest images were found.
  package let nearest: NearestMethod

  /// The member that says how nearest images were found; absent where exactly.
  package static let nearestMember = "nearest"

  /// What ended k-means before its last iteration; nil where nothing could.
  package let untilMoved: ConvergenceBound?

  /// The member that says what ends k-means early; absent where nothing does.
  package static let untilMovedMember = "until_moved"

  /// The member that says which rows were left out; absent where none were.
  package static let leftOutMember = "left_out"

  /// The member that says how elements were converted, of each role; absent where they are
  /// kept as they are.
  package static let conversionMember = "conversion"

  /// The member that says which arrays of their files the shards of each role are; absent
  /// where files have one.
  package static let arraysMember = "arrays"

  /// The member that says what refines, and by which ranges; absent without.
  package static let refineMember = "refine"

  /// What ``refineMember`` says of a codec.
  package static func refineValue(_ codec: VectorCodec) -> JSONValue {
    var members: [String: JSONValue] = ["codec": .string(codec.rawValue)]
    if codec.hasRanges { members["ranges"] = .string(codec.defaultRanges.text) }
    return .object(members)
  }

  /// Reads a specification.
  ///
  /// - Parameter spec: Canonical JSON, as `train` writes it.
  /// - Throws: ``TarnError`` `.usage` for what this tarn does not know.
  package init(parsing spec: String) throws {
    let fields: Fields
    do {
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      fields = try decoder.decode(Fields.self, from: Data(spec.utf8))
    } catch {
      throw TarnError(.usage, "a specification of training is not known", hint: "use a newer tarn")
    }
    normalisation = fields.normalisation ?? .refuse
    guard let ranges = RangeStatistic(parsing: fields.ranges ?? RangeStatistic.minmax.text) else {
      throw TarnError(
        .usage, "the ranges \(fields.ranges?.printable ?? "") are not known", hint: "use a newer tarn")
    }
    self.ranges = ranges
    nearest =
      try fields.nearest.map { stated in
        guard let method = NearestMethod(parsing: stated.by), method.text == stated.by,
          stated.rule == ImageIndexPlan.rule
        else {
          throw TarnError(
            .usage, "the search \(stated.by.printable), \(stated.rule.printable) for nearest images is not known",
            hint: "use a newer tarn")
        }
        return method
      } ?? .exact
    untilMoved = fields.untilMoved.flatMap(ConvergenceBound.init(parsing:))
    guard untilMoved?.text == fields.untilMoved else {
      throw TarnError(
        .usage, "the share \(fields.untilMoved?.printable ?? "") that ends k-means is not known",
        hint: "use a newer tarn")
    }
    refine = try fields.refine.map { stated in
      guard let codec = VectorCodec(rawValue: stated.codec), codec.canRefine,
        stated.ranges == (codec.hasRanges ? codec.defaultRanges.text : nil)
      else {
        throw TarnError(
          .usage, "the codes \(stated.codec.printable) that refine are not known", hint: "use a newer tarn")
      }
      return codec
    }
    shards = fields.shards ?? Array(0..<(fields.images?.count ?? 0))
    guard shards.count == fields.images?.count ?? 0, shards.allSatisfy({ $0 >= 0 }),
      zip(shards, shards.dropFirst()).allSatisfy({ $0 < $1 })
    else {
      throw TarnError(.usage, "the shards of a specification of training are not known", hint: "use a newer tarn")
    }
    leftOut = Dictionary((fields.leftOut ?? []).map { ($0.shard, $0.rows) }) { first, _ in first }
    guard let router = fields.router else {
      self.router = RouterOptions()
      return
    }
    guard let method = RouterMethod(rawValue: router.method), router.rule == RouterQueries.rule else {
      throw TarnError(
        .usage, "the router \(router.method.printable), \(router.rule.printable) is not known", hint: "use a newer tarn"
      )
    }
    self.router = RouterOptions(
      method: method, epochs: router.epochs, captionLimit: router.captions, refinements: router.refinements,
      candidates: router.candidates)
  }

  private struct Fields: Decodable {
    struct Router: Decodable {
      let method: String
      let rule: String
      let captions: Int
      let epochs: Int
      let refinements: Int
      let candidates: Int?
    }
    struct Shard: Decodable {}
    struct Nearest: Decodable {
      let by: String
      let rule: String
    }
    struct Refine: Decodable {
      let codec: String
      let ranges: String?
    }
    struct LeftOut: Decodable {
      let shard: Int
      let rows: [UInt32]
    }
    let images: [Shard]?
    let shards: [Int]?
    let leftOut: [LeftOut]?
    let normalisation: Normalisation?
    let ranges: String?
    let untilMoved: String?
    let nearest: Nearest?
    let refine: Refine?
    let router: Router?
  }
}
