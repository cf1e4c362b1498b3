internal import Indexer
print("tarn")
