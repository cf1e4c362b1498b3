// What verbs print is made in the rooms below; this room hands it on, so that
// whoever calls a run needs to know this room alone.

@_exported public import Base
@_exported public import Catalog
@_exported public import Features
@_exported public import Fetch
@_exported public import Indexer
@_exported public import Tasks
