// What is at which path: the whole list, and nothing else is served.

/// What a request asks for.
package enum ServeRoute: Sendable, Equatable {
  /// The verb of the command line that answers an API path.
  package enum Verb: String, Sendable, CaseIterable { case status, versions, show, sources, locate, sql }
  package enum Page: Sendable, Equatable {
    case lake, search, versions, sql
    case version(String)
  }

  case health, ready, metrics, indices, knn, metadata, config, look, search
  case api(Verb)
  case page(Page)
  case asset(String)
  /// What a browser asks before a page of another origin may.
  case preflight(methods: String)

  /// Why there is nothing to be asked for.
  package enum Refusal: Error, Equatable {
    case notFound
    case method(allowed: String)
  }

  /// Finds what a path and a method ask for; HEAD asks for what GET does.
  ///
  /// - Parameters:
  ///   - method: Of the request.
  ///   - parts: The path's.
  /// - Throws: ``Refusal``.
  package init(_ method: String, _ parts: [String]) throws(Refusal) {
    let (route, allowed) = try Self.found(parts)
    guard allowed.contains(method) else { throw .method(allowed: allowed.joined(separator: ", ")) }
    self = route
  }

  private static func found(_ parts: [String]) throws(Refusal) -> (ServeRoute, allowed: [String]) {
    let reads = ["GET", "HEAD"]
    switch (parts.first, parts.count) {
    case (nil, _): return (.page(.lake), reads)
    case ("healthz", 1): return (.health, reads)
    case ("readyz", 1): return (.ready, reads)
    case ("metrics", 1): return (.metrics, reads)
    case ("indices-list", 1): return (.indices, reads)
    case ("config.json", 1): return (.config, reads)
    case ("knn-service", 1): return (.knn, ["POST"])
    case ("metadata", 1): return (.metadata, ["POST"])
    case ("search", 1): return (.page(.search), reads + ["POST"])
    case ("versions", 1): return (.page(.versions), reads)
    case ("versions", 2): return (.page(.version(parts[1])), reads)
    case ("sql", 1): return (.page(.sql), reads + ["POST"])
    case ("assets", 2): return (.asset(parts[1]), reads)
    case ("api", 2):
      if parts[1] == "search" { return (.search, ["POST"]) }
      if parts[1] == "look" { return (.look, reads) }
      guard let verb = Verb(rawValue: parts[1]) else { throw .notFound }
      return (.api(verb), verb == .sql ? ["POST"] : reads)
    default: throw .notFound
    }
  }

  /// Whether everybody may ask without a token, as what watches over a server has none.
  package var isOpen: Bool { self == .health || self == .ready }

  /// Whether who asks is a program, which is told of errors in JSON.
  package static func isForPrograms(_ parts: [String]) -> Bool {
    switch parts.first {
    case "api", "knn-service", "metadata", "indices-list", "config.json", "metrics", "healthz", "readyz": true
    default: false
    }
  }

  /// Whether what is asked for is a page, or would be, so that people are told of errors.
  ///
  /// - Parameter target: Of a request, however long.
  /// - Returns: Whether; false for one that cannot be read.
  package static func isForPeople(_ target: String) -> Bool {
    guard let parts = RequestTarget(parsing: String(target.prefix { $0 != "?" }))?.parts else { return false }
    return !isForPrograms(parts) && parts.first != "assets"
  }

  /// What the metrics call it.
  package var name: String {
    switch self {
    case .health: "healthz"
    case .ready: "readyz"
    case .metrics: "metrics"
    case .indices: "indices-list"
    case .knn: "knn-service"
    case .metadata: "metadata"
    case .config: "config.json"
    case .look: "api/look"
    case .search: "api/search"
    case .api(let verb): "api/\(verb.rawValue)"
    case .page: "page"
    case .asset: "asset"
    case .preflight: "preflight"
    }
  }
}
