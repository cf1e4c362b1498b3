// `gc`: files that nothing needs any more, given back one after the other.

package import Base
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
  ///   - unwritten: Told why the file of a revocation or a pin could not be written.
  ///   - report: Told of each file that is gone.
  /// - Returns: The files that are gone.
  /// - Throws: ``TarnError``; `.interrupted` when it was stopped.
  package func collect(
    _ plan: GarbagePlan, unwritten: (TarnError) -> Void, report: (GarbageItem) -> Void
  ) throws -> [GarbageItem] {
    cancellation.listen()
    return try catalog.collect(plan, options, unwritten: unwritten) { item in
      report(item)
      try cancellation.check()
    }
  }
}
