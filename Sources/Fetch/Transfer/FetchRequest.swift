// What is asked of the fetcher, what it reports while it works, and what it
// hands back.

package import Base
package import Features
package import Foundation

/// One place to get a shard from.
package struct FetchMirror: Sendable, Equatable {
  package let id: Int64
  /// An `http`, `https`, `s3` or `file` address of the shard itself, or the command that writes it.
  package let url: String
  /// Whether a document brought the address, and not the user (S7).
  package let isOfDocument: Bool
  /// Names of query items that the user declared to be harmless, lower case (S4).
  package let keptQuery: Set<String>

  package init(id: Int64, url: String, isOfDocument: Bool = false, keptQuery: Set<String> = []) {
    self.id = id
    self.url = url
    self.isOfDocument = isOfDocument
    self.keptQuery = keptQuery
  }

  /// The address as it may be shown.
  package var redacted: String { WebAddress.redacted(url, keeping: keptQuery) }
}

/// What is known of a shard before its bytes arrive.
///
/// Everything known is checked; nothing that contradicts it is accepted.
package struct ShardExpectation: Sendable, Equatable {
  package var byteCount: Int?
  package var digest: ContentDigest?
  /// Bytes that are reserved for it on the disk; nil for no limit.
  ///
  /// A shard that turns out to be larger is not begun.
  package var roomByteCount: Int?
  /// Columns of the matrix.
  package var dimension: Int
  package var elementType: ElementType
  /// How its file is laid out, as its name says; nil for bytes of any kind, whose
  /// number and digest are known.
  package var format: FeatureFormat?
  /// The array of the file that has these rows; nil for the only one.
  package var array: String?
  /// Further arrays of the file that are read, each of as many rows.
  package var others: [ArrayExpectation] = []

  /// A file of which only its bytes are known.
  package init(ofBytes byteCount: Int, digest: ContentDigest) {
    self.byteCount = byteCount
    self.digest = digest
    (dimension, elementType, format) = (0, .float32, nil)
  }

  package init(
    byteCount: Int? = nil, digest: ContentDigest? = nil, dimension: Int, elementType: ElementType,
    format: FeatureFormat = .npy, array: String? = nil
  ) {
    self.array = array
    self.format = format
    self.byteCount = byteCount
    self.digest = digest
    self.dimension = dimension
    self.elementType = elementType
  }
}

/// An array of a file, and what its rows must be.
package struct ArrayExpectation: Sendable, Equatable {
  package let array: String
  package let dimension: Int
  package let elementType: ElementType

  package init(array: String, dimension: Int, elementType: ElementType) {
    self.array = array
    self.dimension = dimension
    self.elementType = elementType
  }
}

extension ShardExpectation {
  /// The rows of a file that lies on disk, whichever of its arrays are read.
  ///
  /// - Parameters:
  ///   - path: The file, under any name.
  ///   - readsRows: Whether rows that are packed or have a checksum are read, so that a
  ///     damaged file is found before it is recorded.
  /// - Returns: Rows, of each array as many.
  /// - Throws: ``TarnError`` `.badFeatures` for an array that is missing, of another
  ///   dimension or element type, or of another number of rows than the first; as
  ///   `FeatureFile` does.
  package func rowCount(of path: String, readsRows: Bool = false) throws -> Int {
    let format = format ?? .npy
    let count = try FeatureFile.rowCount(
      of: path, as: format, array: array, dimension: dimension, elementType: elementType,
      readsRows: readsRows)
    for other in others {
      let its = try FeatureFile.rowCount(
        of: path, as: format, array: other.array, dimension: other.dimension, elementType: other.elementType,
        readsRows: readsRows)
      guard its == count else {
        throw TarnError(
          .badFeatures,
          "\(path): array \(other.array.printable) has \(its) rows and \(array?.printable ?? "the first") has \(count)",
          hint: "sources that read one set of files need arrays of as many rows; register this one on files of its own")
      }
    }
    return count
  }

  /// Whether a whole file is good and lacks an array that is read, or has rows of another dimension or element type.
  ///
  /// To fetch it again brings the same.
  func isContradicted(by path: String) -> Bool {
    guard let format else { return false }
    func differs(_ array: String?, _ dimension: Int, _ elementType: ElementType) -> Bool {
      if FeatureFile.lacksArray(path, as: format, array: array) { return true }
      guard let kind = try? FeatureFile.kind(of: path, as: format, array: array, dimension: dimension) else {
        return false
      }
      return kind.dimension != dimension || kind.elementType != elementType
    }
    return differs(array, dimension, elementType)
      || others.contains { differs($0.array, $0.dimension, $0.elementType) }
  }
}

/// A shard to be fetched.
package struct FetchRequest: Sendable {
  /// The caller's name for the request; unique among those under way.
  package let id: Int64
  /// Where to ask, in order of preference; never empty.
  package let mirrors: [FetchMirror]
  /// Where the bytes gather, on the file system of the final path.
  ///
  /// A file `partPath + ".resume"` beside it holds what a later run needs.
  package let partPath: String
  package let expectation: ShardExpectation
  /// The validator of the revision held, to ask only for a newer one.
  package let condition: EntityValidator?
  /// The final path of a whole, verified shard; its directory exists.
  package let finalPath: @Sendable (ContentDigest) -> String
  /// What it is a file of, which decides what can be done about a failure.
  package var subject = Subject.source
  /// What holds a file against what it is where its expectation names no format; nil for
  /// bytes of any kind.
  package var examination: FileExamination?
  /// Asked, from any thread, what can be done about a file of another dimension or element
  /// type than it is expected to have; nil for what is said of any wrong file.
  package var remedy: @Sendable (FeatureHead) -> String? = { _ in nil }
  /// Asked, from any thread, how it is said which array of a file is meant that has several.
  package var wayToArray: @Sendable () -> String = { "register the files by their array, with --array NAME" }
  /// Told, on the disk's queue, of a whole file that is good and of another kind than is expected.
  package var onOtherKind: @Sendable () -> Void = {}
  /// D12: asked, from any thread, whether there is room for a shard of this size,
  /// which turned out to be more than is reserved for it.
  package var takesRoom: @Sendable (_ byteCount: Int) -> Bool = { _ in false }
  /// D12: asked now and then while bytes are written for which the file system keeps
  /// no room; an error ends the request, and what arrived is kept.
  package var lackOfRoom: @Sendable () -> TarnError? = { nil }

  /// Whose files are asked for.
  package enum Subject: Sendable {
    /// A shard of a source, which has mirrors.
    case source
    /// A file of a published version, which has the place that was named.
    case publication
  }

  package init(
    id: Int64, mirrors: [FetchMirror], partPath: String, expectation: ShardExpectation,
    condition: EntityValidator? = nil, finalPath: @escaping @Sendable (ContentDigest) -> String
  ) {
    self.id = id
    self.mirrors = mirrors
    self.partPath = partPath
    self.expectation = expectation
    self.condition = condition
    self.finalPath = finalPath
  }
}

/// What is asked of a file that holds no features.
package struct FileExamination: Sendable {
  /// Why the first bytes, at least 64 or all there are, cannot be of it; nil where they may be.
  package let faultOfStart: @Sendable (_ start: [UInt8]) -> String?
  /// Counts the rows of a whole file.
  package let rowCount: @Sendable (_ path: String) throws -> Int

  package init(
    faultOfStart: @escaping @Sendable ([UInt8]) -> String?, rowCount: @escaping @Sendable (String) throws -> Int
  ) {
    self.faultOfStart = faultOfStart
    self.rowCount = rowCount
  }
}

/// What the supplier of requests has for a free slot.
package enum FetchSupply: Sendable {
  case request(FetchRequest)
  /// Nothing for now, as while the disk budget is taken; asked again after
  /// every finished request, after ``Fetcher/wake()``, and now and then.
  case notYet
  /// Nothing ever again.
  case finished
}

/// A whole shard, verified and durable under its final path.
package struct FetchedShard: Sendable, Equatable {
  package let digest: ContentDigest
  /// SHA-256's state after each chunk; see `ChunkHasher`.
  package let states: [UInt8]
  package let byteCount: Int
  package let rowCount: Int
  /// What the server said to tell this revision from others.
  package let validator: EntityValidator
  package let mirrorID: Int64
  package let path: String
}

/// How a request ended well.
package enum FetchResult: Sendable, Equatable {
  case fetched(FetchedShard)
  /// The revision held is still the current one (304).
  case unchanged(mirrorID: Int64)
  /// The shard has more bytes than the room reserved for it; none was kept.
  case outgrown(byteCount: Int)
}

/// One attempt to get one shard from one mirror: a row of the transfer table.
package struct TransferAttempt: Sendable, Equatable {
  /// How an attempt ended.
  package enum Outcome: String, Sendable, Equatable, CaseIterable {
    case succeeded, unchanged
    /// The partial was not usable; the next attempt starts from byte 0.
    case restarted
    /// The shard is larger than the room reserved for it.
    case outgrown
    case absent, refused, temporary, integrity, tls, diskFull, io, interrupted, usage
  }

  package let requestID: Int64
  package let mirrorID: Int64
  /// Counted from 1 over the request.
  package let number: Int
  /// The mirror's address, redacted; never that of a redirect.
  package let url: String
  /// Bytes held already when it began.
  package let offset: Int
  /// Body bytes that it brought.
  package let receivedByteCount: Int
  /// The last status; nil when no answer came or it was a file.
  package let httpStatus: Int?
  package let outcome: Outcome
  /// R22: whether it failed in a way that may pass.
  package let mayPass: Bool
  /// How long the server asked to be left alone; nil when it did not.
  package let retryAfter: Duration?
  package let errorText: String?
  /// The shard's size there, if it was learnt.
  package let learntByteCount: Int?
  package let startedAt: Date
  package let endedAt: Date
  /// The command that was run, if it was one.
  package let command: CommandRecord?
}

/// What happens while requests are served, in order, on one thread.
package enum FetchEvent: Sendable {
  case started(requestID: Int64, mirrorID: Int64, attempt: Int)
  /// Bytes of the shard held so far, and of the whole shard if known.
  case progress(requestID: Int64, byteCount: Int, totalByteCount: Int?)
  case attemptEnded(TransferAttempt)
  /// The last event of its request.
  case finished(requestID: Int64, Result<FetchResult, TarnError>)
}
