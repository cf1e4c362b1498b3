// Files that came to the directory of a source since it was registered: seen when a sync
// ends, by a listing that nobody waits for long, and taken in by `source refresh` alone.

internal import Base
package import Catalog
internal import Foundation
internal import Synchronization

/// Files of a directory that a source does not have.
package struct NewFiles: Sendable {
  package let source: String
  package let directory: String
  /// Those that `source refresh` takes in.
  package let count: Int
  /// Those that it would not add yet.
  package let waiting: [WaitingFile]
  /// Whether the source is a companion.
  private let isCompanion: Bool

  /// What can be done about them, in a line each.
  package var lines: [String] {
    let taken =
      count == 0
      ? []
      : [
        "\(source): \(count.counted("new file")) in \(directory); `tarn source refresh \(source)` takes "
          + "\(count == 1 ? "it" : "them") in"
      ]
    return taken
      + WaitingFile.lines(waiting, of: source, way: nil, companion: isCompanion).map { "\(source): \($0)" }
  }

  /// The most shards of a source that is looked for.
  private static let mostShards = 100_000
  /// How long is looked: a file system of a network may not answer.
  private static let patience = Duration.seconds(2)

  /// What the catalog knows of a source that has a directory.
  private struct Subject: Sendable {
    let source: Source
    let shards: [Shard]
    /// Directories, the first first, with the addresses of the shards there.
    let places: [(directory: DirectoryMirror, urls: [String?])]
    /// In whose order `source refresh` would take files.
    let order: PartnerOrder?
  }

  /// Looks into the directories of sources that are here.
  ///
  /// - Parameters:
  ///   - catalog: A lake; reading is enough.
  ///   - names: The sources; none for all there are.
  /// - Returns: Those that got files. What cannot be read, and what does not answer in
  ///   time, is passed over: it is a hint.
  package static func look(_ catalog: LakeCatalog, _ names: [String]) -> [NewFiles] {
    let subjects = ((try? catalog.fileSources(names)) ?? []).compactMap { subject(catalog, $0) }
    guard !subjects.isEmpty else { return [] }
    let found = Mutex<[NewFiles]>([])
    let looking = ThreadedWork("tarn-look") {
      for subject in subjects {
        if let new = look(subject) { found.withLock { $0.append(new) } }
      }
    }
    // What was found by then counts; without a thread, nothing was.
    _ = looking.outcome(within: patience)
    return found.withLock { $0 }
  }

  private static func subject(_ catalog: LakeCatalog, _ source: Source) -> Subject? {
    guard let mirrors = try? catalog.mirrors(of: source).filter({ $0.template.hasPrefix("file:///") }),
      !mirrors.isEmpty, let shards = try? catalog.shards(of: source), shards.count <= mostShards
    else { return nil }
    let places = mirrors.compactMap { mirror -> (directory: DirectoryMirror, urls: [String?])? in
      guard let urls = try? catalog.addresses(of: source, on: mirror),
        let directory = DirectoryMirror(mirror, first: urls.first ?? nil)
      else { return nil }
      return (directory, urls)
    }
    guard !places.isEmpty else { return nil }
    let order = try? PartnerOrder(of: source, asked: nil, inOwnOrder: false, catalog)
    return Subject(source: source, shards: shards, places: places, order: order)
  }

  private static func look(_ subject: Subject) -> NewFiles? {
    guard let (directory, known) = subject.places.first(where: { $0.directory.isThere }),
      let urls = try? SourceRegistration.directoryURLs(
        directory.path, ofCompanion: subject.source.isCompanion, like: subject.shards.first?.name
      ).urls
    else { return nil }
    let (there, had) = (Set(urls), Set(known.compactMap(\.self)))
    let gone = zip(subject.shards, known).filter { shard, url in
      !shard.isDropped && !(url.map(there.contains) ?? false)
    }
    let new = urls.filter { !had.contains($0) }
    let names = new.compactMap { try? URLTemplate.fileName(of: $0) }
    let arrangement =
      names.count == new.count
      ? subject.order?.arranged(names, after: subject.shards.map(\.name), leavingPlaces: true) : nil
    // Where nothing is gone, nothing has another name.
    let count =
      gone.isEmpty || new.isEmpty
      ? new.count : count(ofSizes: new.map(directory.byteCount), gone: gone.compactMap(\.0.likelyByteCount))
    let waiting = count == 0 ? [] : arrangement?.waiting ?? []
    let taken = max(0, count - waiting.count)
    guard taken > 0 || !waiting.isEmpty else { return nil }
    return NewFiles(
      source: subject.source.name, directory: directory.path, count: taken, waiting: waiting,
      isCompanion: subject.source.isCompanion)
  }

  /// How many files are new, if each that is gone may be one of its size under another name.
  package static func count(ofSizes new: [Int], gone: [Int]) -> Int {
    var left = Dictionary(gone.map { ($0, 1) }, uniquingKeysWith: +)
    return new.count { size in
      guard let count = left[size], count > 0 else { return true }
      left[size] = count - 1
      return false
    }
  }
}

extension DirectoryMirror {
  /// The size of the file at an address in it; 0 for none.
  fileprivate func byteCount(_ url: String) -> Int {
    String(url.dropFirst("file://".count)).removingPercentEncoding.flatMap { Disk.size(of: $0) } ?? 0
  }
}
