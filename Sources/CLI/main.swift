import Indexer
print(Indexer.g())
