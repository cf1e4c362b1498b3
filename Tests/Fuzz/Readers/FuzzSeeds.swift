// Good files for each reader, to begin with: what changes them can reach depends
// on what they hold.

internal import Base
internal import Companions
internal import Foundation
package import Indexer
internal import TestSupport

package enum FuzzSeeds {
  /// The digest of the companion that packs are of.
  static let companion = ContentDigest(bytes: [UInt8](repeating: 7, count: 32))

  /// An archive of `torch.save` around a pickle.
  static func archive(pickle: [UInt8]) -> [UInt8] { FeatureFiles.torch(pickle) }

  /// Good bytes for a reader.
  ///
  /// - Parameters:
  ///   - reader: The reader.
  ///   - directory: Where files may be put on the way.
  /// - Returns: At least one file.
  /// - Throws: ``TarnError`` or ``TarnError`` when one cannot be made.
  package static func files(for reader: FuzzReader, in directory: String) throws -> [[UInt8]] {
    switch reader {
    case .safetensors:
      let several =
        #"{"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"x":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}}"#
      return [FeatureFiles.safetensors(), FeatureFiles.safetensors(several)]
    case .npy, .fbin, .fvecs, .pt:
      return FeatureFiles.all.filter { $0.name == reader.rawValue }.map(\.bytes)
    case .jsonl: return [Array("{\"a\":1,\"b\":[true,null]}\n\n{\"a\":\"\u{FC}\",\"c\":0.5}\n".utf8)]
    case .csv: return [Array("a,b\r\n1,\"x\"\"y\nz\"\r\n,\"\"\r\n".utf8)]
    case .gz, .zst:
      // "one\ntwo\n", as gzip -n and zstd write it.
      let packed =
        reader == .gz
        ? "H4sIAAAAAAAAA8vPS+UqKc/nAgDmC7oSCAAAAA==" : "KLUv/QRYQQAAb25lCnR3bwrmpg5A"
      return [Array(Data(base64Encoded: packed) ?? Data())]
    case .pack:
      let (path, text) = (directory + "/seed.csv", "a,b\n" + (0..<90).map { "\($0),caption \($0 % 7)\n" }.joined())
      try Disk.writeAtomically(Array(text.utf8), to: path)
      _ = try PackWriter.write(
        CompanionFile(path, named: path), digest: companion, through: path + ".tmp", to: path + ".pack")
      return [Array(try Data(contentsOf: URL(fileURLWithPath: path + ".pack")))]
    case .npz:
      return [
        FeatureFiles.npz(),
        FeatureFiles.npz([("ids", FeatureFiles.npy("<i8", shape: "(2,)", [])), ("emb", FeatureFiles.npy())]),
        FeatureFiles.npz { ($0.method, $0.pack, $0.hasDescriptors) = (8, { Deflate.stored($0, block: 40) }, true) },
        FeatureFiles.npz { ($0.method, $0.pack, $0.isZip64) = (8, { Deflate.fixed($0) }, true) },
      ]
    case .parquet: return [ParquetMaker.floatLists.file(), ParquetMaker.texts.file()]
    case .pickle:
      var part = PickleMaker()
      (part.offset, part.shape) = (3, [1, 3])
      return [PickleMaker().pickle(), part.pickle()]
    case .faiss, .output, .trained, .segment: return try index(reader, in: directory)
    case .state: return try FuzzState.files(in: directory)
    case .export: return [Array(export.utf8)]
    case .sizes: return [Array("# shards\n0.npy, 1440\nother.npy 3\ndir/1.npy\t77\n".utf8)]
    case .digests:
      let hex = String(repeating: "0123456789abcdef", count: 4)
      return [Array("\(hex)  0.npy\n\(hex) *dir/1.npy\n".utf8)]
    case .tree: return [Array(tree.utf8)]
    case .listing: return [link + tree.replacing("a/0", with: "img/0"), "\n" + bucket].map { Array($0.utf8) }
    case .urls:
      return [
        "https://host.example:8443/a%20b/img_emb_{ordinal:04}.npy?version=1&name=y\ns3://bucket/{ordinal}.npy\n",
        "file:///data/0.npy\nhttp://[::1]:80/1.npy\n",
      ].map { Array($0.utf8) }
    case .head: return [head, redirect, refusal].map { Array($0.utf8) }
    case .plan, .task, .receipt, .failure, .jobs: return FuzzTasks.files(for: reader).map { Array($0.utf8) }
    }
  }

  /// A small index in each codec, as the build writes it.
  private static func index(_ reader: FuzzReader, in directory: String) throws -> [[UInt8]] {
    let (dimension, nlist, count) = (6, 4, 24)
    return try VectorCodec.allCases.flatMap { codec -> [[UInt8]] in
      var random = SplitMix64(seed: 5)
      func numbers(_ count: Int) -> [Float] {
        (0..<count).map { _ in Float(Int(random.next() >> 48) - 32768) / 65536 }
      }
      let (vectors, centroids) = (numbers(count * dimension), numbers(nlist * dimension))
      var ranges = try RangeTrainer(codec: codec, dimension: dimension)
      ranges.add(vectors)
      let trained = try TrainedIndex(centroids: centroids, quantizer: ranges.finish(), nprobe: 2)
      let path = directory + "/seed"
      let digest = try TrainedIndexFile.write(trained, to: path, temporaryPath: path + ".tmp").digest
      if reader == .trained {
        let routed = try TrainedIndex(
          centroids: centroids, assigner: numbers(nlist * dimension), quantizer: trained.quantizer, nprobe: 2)
        let plain = try contents(path)
        _ = try TrainedIndexFile.write(routed, to: path, temporaryPath: path + ".tmp")
        return [plain, try contents(path)]
      }
      let description = SegmentDescription(
        codec: codec, dimension: dimension, nlist: nlist, trainedIndex: digest, shard: ContentDigest.of("shard"))
      // Rows in all lists, or in one: the two ways that sizes are written.
      return try [4, 1].map { occupied in
        let segment = path + ".segment"
        _ = try SegmentWriter.write(
          description, assignments: (0..<count).map { $0 == 3 ? SegmentWriter.skippedRow : UInt32($0 % occupied) },
          codes: trained.quantizer.encode(vectors), to: segment, temporaryPath: segment + ".tmp")
        if reader == .segment { return try contents(segment) }
        _ = try OutputShardMerge.write(
          [MergeInput(segment: SegmentFile(path: segment), firstRowID: 100)], trained: trained, trainedDigest: digest,
          to: path, temporaryPath: path + ".tmp")
        return try contents(path)
      }
    }
  }

  private static func contents(_ path: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  private static let digest = String(repeating: "ab", count: 32)
  private static let export = """
    {"bad_rows":"refuse","format":"tarn-export-1","inputs":[{"bytes":152,"first_id":0,"ordinal":0,"output":0,"rows":3,
    "sha256":"\(digest)","shard":"0.npy"}],"missing":"refuse","outputs":[{"bytes":900,"lists_sha256":"\(digest)",
    "output":0,"rows":3,"sha256":"\(digest)"}],"shards_per_output":1,"source":"images","sources":[{"dimension":4,
    "dtype":"float16","mirrors":["http://host/{ordinal}.npy"],"modality":"image","name":"images","shards":[{"bytes":152,
    "name":"0.npy","sha256":"\(digest)","urls":["http://host/0.npy"]}]}],"spec":"{}","trained":{"captions":null,
    "codec":"sq4","images":"images","iterations":3,"method":"kmeans","name":"t","nlist":2,"pairs":3,"seed":1,
    "sha256":"\(digest)","spec":"{}"},"version":"v@1","version_sha256":"\(digest)"}
    """
  private static let tree = """
    [{"type":"directory","oid":"1","size":0,"path":"img_emb"},{"type":"file","oid":"2","size":1536,"path":"a/0.npy",
    "lfs":{"oid":"\(digest)","size":1440,"pointerSize":134}},{"type":"file","oid":"3","size":77,"path":"1.npy"}]
    """
  private static let link = "<https://host/api/datasets/org/set/tree/main/img?cursor=ab>; rel=\"next\", <x>; rel=prev\n"
  private static let bucket = """
    <ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>
    <Contents><Key>img/a+%C3%A9.npy</Key><Size>12</Size></Contents><Contents><Key>img/</Key><Size>0</Size></Contents></ListBucketResult>
    """
  private static let head = """
    HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial Content\r\nContent-Length: 900\r\nContent-Range: bytes 100-999/1000\r
    ETag: "abc"\r\nLast-Modified: Tue, 14 Nov 2023 20:00:00 GMT\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r
    Content-Type: application/octet-stream\r\n\r\n
    """
  private static let redirect =
    "HTTP/2 302 \r\nlocation: https://host.example/0.npy\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n"
  private static let refusal = """
    HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */1000\r\nRetry-After: 120\r\nETag: W/"x"\r
    Content-Encoding: gzip\r\n\r\nHTTP/1.1 429 Too Many\r\nRetry-After: Wed, 15 Nov 2023 00:00:00 GMT\r\n\r\n
    """
}

extension SegmentWriter {
  /// Writes a segment whose codes are in memory.
  ///
  /// - Parameters:
  ///   - description: Codec, shape and origins.
  ///   - assignments: The list of each row, `[rows]`.
  ///   - codes: Row-major codes, `[rows × codeByteCount]`; those of skipped rows
  ///     are not looked at.
  ///   - path: The final name.
  ///   - temporaryPath: The name before.
  ///   - buffers: How much memory to take.
  /// - Returns: Digest and sizes.
  /// - Throws: As the product's own.
  package static func write(
    _ description: SegmentDescription, assignments: [UInt32], codes: [UInt8], to path: String,
    temporaryPath: String, buffers: BufferPlan = BufferPlan()
  ) throws -> SegmentSummary {
    let width = description.codeByteCount
    precondition(codes.count == assignments.count * width)
    return try write(
      description, assignments: assignments, to: path, temporaryPath: temporaryPath, buffers: buffers
    ) { order, places, output in
      for (row, place) in order.places.enumerated() where places.contains(Int(place)) {
        let start = (Int(place) - places.lowerBound) * width
        for i in 0..<width { output[start + i] = codes[row * width + i] }
      }
    }
  }
}
