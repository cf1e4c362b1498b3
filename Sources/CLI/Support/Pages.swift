// The pages that verbs write, from what the lake says.

internal import Base
internal import Lake
internal import Report

extension ReportPage {
  private static var footer: String { "tarn \(Tool.version), \(Timestamp.now())" }

  private static func grids(_ states: [LakePicture.States]) -> [ShardGrid] {
    states.map { ShardGrid(title: $0.title, states: $0.states) }
  }

  /// The page of `tarn evaluate`.
  ///
  /// - Parameters:
  ///   - evaluations: At least one.
  ///   - k: The depth of the curves.
  ///   - catalog: Says what the versions are made of.
  /// - Returns: The page.
  /// - Throws: ``TarnError``.
  static func of(_ evaluations: [Evaluation], k: Int, _ catalog: LakeCatalog) throws -> ReportPage {
    let picture = LakePicture(catalog)
    return ReportPage.evaluations(
      evaluations, k: k,
      lineages: try evaluations.map { evaluation in
        Lineage(try picture.lineage(of: evaluation.version).map { Lineage.Step($0.title, $0.lines) })
      },
      grids: try evaluations.flatMap { grids(try picture.versions($0.version)) }, footer: footer)
  }

  /// The page of `tarn status`.
  static func status(_ catalog: LakeCatalog) throws -> ReportPage {
    let picture = LakePicture(catalog)
    return shards(
      of: catalog.layout.root, sources: grids(try picture.sources()), versions: grids(try picture.versions()),
      footer: footer)
  }
}
