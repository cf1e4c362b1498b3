// `train --queries`: what queries like those that will be asked find in lists of captions
// and in lists of images, before the work that one of them takes is begun.

package import Base
internal import Catalog
internal import Features
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
    guard file.dimension == images.dimension else {
      throw TarnError(
        .usage, "\(queries.path) has rows of \(file.dimension) elements, \(images.name) has \(images.dimension)",
        hint: "try lists with queries of the model that made the features")
    }
  }

  /// Tries both kinds of lists, and warns where those that were not asked for find more.
  ///
  /// Once for the same queries: a training that goes on says it no second time.
  func tryLists(_ images: Gathered, _ captions: Gathered?, in scratch: String) throws {
    guard let queries = options.queries, let captions else { return }
    let mark = scratch + "/queries.tried"
    let digest = try Disk.digest(of: queries.path).hex
    guard Disk.text(of: mark) != digest else { return }
    let trial = try ListTrial(
      images: images.matrix, captions: captions.matrix, queries: queries.open().matrix, logger: logger,
      checkpoint: cancellation.check)
    if let trial {
      report(.tried(trial))
      if let leader = trial.leader, leader != options.method {
        logger.warning(
          "queries like those of \(queries.path) find more in lists of \(leader == .kmeans ? "images: --method kmeans, with --router anchored" : "captions: --method paired-kmeans")"
        )
      }
    } else {
      logger.warning("of so few pairs no lists are tried with \(queries.path)")
    }
    try Disk.writeAtomically(Array(digest.utf8), to: mark)
  }
}
