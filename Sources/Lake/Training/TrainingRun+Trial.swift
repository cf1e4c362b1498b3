// `train --queries`: what queries like those that will be asked find in lists of captions
// and in lists of images, before the work that one of them takes is begun.

internal import Base
internal import Catalog
internal import Features
internal import Foundation
internal import Indexer
internal import Logging

/// Queries like those that will be asked, to try lists with.
package struct TrialQueries: Sendable {
  /// A feature file, `[n × dimension]`.
  package let path: String
  /// Which of its arrays; nil for the only one.
  package let array: String?

  package init(_ path: String, array: String? = nil) { (self.path, self.array) = (path, array) }

  func open() throws -> FeatureFile { try QueryFile.open(path, array: array, orElse: "say --queries-array NAME") }
}

extension TrainingRun {
  /// Refuses queries that nothing can be tried with.
  func checkQueries() throws {
    guard let queries = options.queries else { return }
    guard options.captions != nil else {
      throw TarnError(
        .usage, "--queries tries lists of captions beside lists of images, and there are no captions",
        hint: "name their source with --captions, which --method kmeans takes with a --router")
    }
    let (file, images) = (try queries.open(), try catalog.source(named: options.images))
    guard file.rowCount > 0 else {
      throw TarnError(.usage, "\(queries.path) holds no query", hint: "name a file of queries, or leave --queries out")
    }
    guard file.dimension == images.dimension else {
      throw TarnError(
        .usage, "\(queries.path) has rows of \(file.dimension) elements, \(images.name) has \(images.dimension)",
        hint: "try lists with queries of the model that made the features")
    }
    guard file.rowCount < ListTrial.leastQueries else { return }
    logger.warning(
      "no lists will be tried: \(queries.path) holds \(file.rowCount.counted("query", "queries")), and of fewer than \(ListTrial.leastQueries) nothing can be said"
    )
  }

  /// Tries both kinds of lists, and warns where those that were not asked for find more.
  ///
  /// Once for the same queries: a training that goes on says it no second time, and in the end it is in the history. A file of
  /// queries that was changed since it was looked at takes nothing from the training.
  func tryLists(_ images: Gathered, _ captions: Gathered?, in scratch: String) throws {
    guard let queries = options.queries, let captions else { return }
    do {
      var record: [String: JSONValue] = [
        "queries": .string(queries.path), "queries_sha256": .string(try Disk.digest(of: queries.path).hex),
        "array": .optional(queries.array),
      ]
      let before = listsTried(in: scratch)
      guard ["queries_sha256", "array"].contains(where: { before?[$0] != record[$0] }) else { return }
      let asked = try queries.open().matrix
      let trial = try ListTrial(
        images: images.matrix, captions: captions.matrix, queries: asked, lists: options.nlist,
        refinements: options.router.method == .none ? 0 : options.router.refinements, logger: logger,
        checkpoint: cancellation.check)
      if let trial {
        record.merge(trial.json) { own, _ in own }
        tell(trial, queries, of: asked.rowCount)
      } else if asked.rowCount >= ListTrial.leastQueries {
        logger.warning(
          "no lists are tried with \(queries.path): it takes pairs with \(ListTrial.imagesPerList * ListTrial.leastLists) distinct nearest images or more"
        )
      }
      try Disk.writeAtomically(Array(JSONValue.object(record).text.utf8), to: Self.mark(in: scratch))
    } catch let error as TarnError where error.code != .interrupted {
      logger.warning("no lists are tried: \(error.message)")
    }
  }

  private static func mark(in scratch: String) -> String { scratch + "/queries.tried" }

  /// What queries lists were tried with, and what they found where they could say something; nil where none were tried.
  func listsTried(in scratch: String) -> JSONValue? {
    Disk.text(of: Self.mark(in: scratch)).flatMap(JSONValue.init(parsing:))
  }

  /// Says that queries were not looked at, as there is nothing left to decide.
  func sayNothingIsTried(_ trained: TrainedIndexRecord) {
    guard options.queries != nil else { return }
    logger.warning(
      "no lists are tried: \(trained.name) is trained already; another --seed under another name tries them")
  }

  private func tell(_ trial: ListTrial, _ queries: TrialQueries, of given: Int) {
    report(.tried(trial, of: given))
    // A router ranks lists otherwise than the trial does, so what finds less here may find more there.
    guard options.router.method == .none else { return }
    guard let leader = trial.leader, leader != options.method else { return }
    let (more, than) = leader == .kmeans ? (trial.plain, trial.paired) : (trial.paired, trial.plain)
    let found = "\(String(format: "%.3f", more)) of their \(ListTrial.k) nearest, not \(String(format: "%.3f", than))"
    let (others, these, way) =
      leader == .kmeans
      ? ("images", "captions", "--method kmeans, and perhaps --router anchored")
      : ("captions", "images", "--method paired-kmeans")
    logger.warning(
      "queries like those of \(queries.path) find more in lists of \(others): \(found); \(way) would make these. This training goes on with lists of \(these)"
    )
  }
}

extension ListTrial {
  /// For the history.
  fileprivate var json: [String: JSONValue] {
    [
      "pairs": .count(pairCount), "sampled_queries": .count(queryCount), "nlist": .count(nlist),
      "found_by_captions": .number(paired), "found_by_images": .number(plain), "error": .number(error),
    ]
  }
}
