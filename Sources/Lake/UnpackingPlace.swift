// Where rows are unpacked that files of a lake have packed: beside the other work in
// progress, on a file system whose room is known.

package import Catalog
internal import Features

extension LakeCatalog {
  /// Unpacks what this process opens from now on in the lake's scratch.
  package func unpackInScratch() { DecodedRows.use(layout.scratch, keeping: reserve()) }
}
