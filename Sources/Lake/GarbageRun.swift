// `gc`: files that nothing needs any more, given back one after the other.

internal import Base
package import Catalog

/// Collects garbage.
package struct GarbageRun {
  private let catalog: LakeCatalog
  private let options: GarbageOptions
  private let cancellation: Cancellation

  /// Prepares to collect.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - options: What counts as garbage.
  ///   - cancellation: Asked after each file; the next run continues.
  package init(_ catalog: LakeCatalog, _ options: GarbageOptions, cancellation: Cancellation) {
    self.catalog = catalog
    self.options = options
    self.cancellation = cancellation
  }

  /// Removes what a plan names.
  ///
  /// - Parameters:
  ///   - plan: What the catalog found.
  ///   - report: Told of each file that is gone.
  /// - Returns: The files that are gone.
  /// - Throws: ``TarnError``; `.interrupted` when it was stopped.
  package func collect(_ plan: GarbagePlan, report: (GarbageItem) -> Void) throws -> [GarbageItem] {
    cancellation.listen()
    return try catalog.collect(plan, options) { item in
      report(item)
      try cancellation.check()
    }
  }
}
