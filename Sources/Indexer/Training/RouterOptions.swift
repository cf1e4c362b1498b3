// How a router is trained, as far as it can be chosen.

package import Base

/// How the router of an index is trained.
package struct RouterOptions: Sendable, Equatable {
  package var method: RouterMethod
  /// Passes over the queries; for routers that are trained.
  package var epochs: Int
  /// Captions at most; exact search labels them and as many blends.
  package var captionLimit: Int
  /// Steps of image k-means that follow paired k-means: once something else
  /// ranks the lists, what files images can be means of images.
  package var refinements: Int
  /// Lists drawn for each batch of a trained router besides those of its
  /// labels; nil for ``RouterTraining``'s choice.
  package var candidates: Int?

  package init(
    method: RouterMethod = .none, epochs: Int = 10, captionLimit: Int = 1 << 20, refinements: Int? = nil,
    candidates: Int? = nil
  ) {
    self.method = method
    self.epochs = epochs
    self.captionLimit = captionLimit
    self.refinements = refinements ?? method.refinements
    self.candidates = candidates
  }

  /// Refuses numbers that cannot be meant.
  package func validate() throws {
    guard (1...10_000).contains(epochs) else {
      throw TarnError(.usage, "--router-epochs is \(epochs), not in 1...10000")
    }
    guard (0...1000).contains(refinements) else {
      throw TarnError(.usage, "--refinements is \(refinements), not in 0...1000")
    }
    guard captionLimit >= 1 else {
      throw TarnError(.usage, "--router-captions is \(captionLimit); it is at least 1")
    }
    if let candidates, candidates < 1 {
      throw TarnError(.usage, "--router-candidates is \(candidates); it is at least 1")
    }
  }

  /// What of it determines the bytes.
  package func spec(captionCount: Int) -> JSONValue {
    var spec: [String: JSONValue] = [
      "method": .string(method.rawValue), "rule": .string(RouterQueries.rule), "captions": .count(captionCount),
      "labels": .count(RouterTraining.labelCount), "epochs": .count(epochs), "refinements": .count(refinements),
    ]
    // Not named where it is not chosen: specifications from before it was an
    // option keep their digest.
    if let candidates { spec["candidates"] = .count(candidates) }
    return .object(spec)
  }
}
