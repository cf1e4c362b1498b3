// Runs take and return types of the modules below. Lake exports those modules, so that
// whoever calls a run imports Lake alone.

@_exported public import Base
@_exported public import Catalog
@_exported public import Features
@_exported public import Fetch
@_exported public import Indexer
@_exported public import Tasks
