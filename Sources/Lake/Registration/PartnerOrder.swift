// In which order new files of a source come that pairs with another one, by what their names say, and which of them
// wait: a place that was given stays for good, so none is given to a file that belongs elsewhere.

internal import Base
internal import Catalog

/// A new file that is not added yet.
package struct WaitingFile: Sendable, Equatable {
  /// What keeps it.
  package enum Reason: Sendable, Hashable {
    /// The file of this partner's shard belongs before it, and is not there.
    case before(partner: String)
    /// The source has no file of such a name.
    case unknown(source: String)
    /// Another file has its place, beside this partner's.
    case taken(by: String, partner: String)

    /// What is said once: of each that belongs where another stands it would be a line of its own.
    fileprivate var group: Reason { if case .taken = self { .taken(by: "", partner: "") } else { self } }
  }

  package let name: String
  package let reason: Reason

  package init(name: String, reason: Reason) { (self.name, self.reason) = (name, reason) }

  /// What is said of files that wait, a line for each reason, and of the way where what they wait for never comes.
  ///
  /// - Parameters:
  ///   - files: The files, in order.
  ///   - source: Whose they are.
  ///   - way: What helps; nil for nothing.
  ///   - isCompanion: Whether the source is a companion, whose files have no order of their own.
  /// - Returns: Nothing for none.
  package static func lines(
    _ files: [WaitingFile], of source: String, way: String?, companion isCompanion: Bool
  ) -> [String] {
    var groups: [(first: WaitingFile, count: Int)] = []
    var places: [Reason: Int] = [:]
    for file in files {
      let place = places[file.reason.group, default: groups.count]
      if place == groups.count {
        groups.append((file, 0))
        places[file.reason.group] = place
      }
      groups[place].count += 1
    }
    var lines = groups.map { first, count -> String in
      let (name, others) = (first.name.printable, count - 1)
      let which = name + (others == 0 ? "" : " and \(others.counted("other"))")
      return switch first.reason {
      case .before(let partner):
        "\(which) will be added once the file is there that belongs to \(partner.printable), before it"
      case .unknown(let partner):
        "\(which) will be added once \(partner) has a file of such a name: `tarn source refresh \(partner)` takes in what "
          + "came there"
          + (isCompanion ? "" : "; `tarn source refresh \(source) --order-of \(source)` does not wait for it")
      case .taken(let other, let partner):
        "\(name) is not added: it belongs beside \(partner.printable) by its name, where \(other.printable) stands"
          + (others == 0 ? "" : ", and so it is with \(others.counted("other"))")
      }
    }
    let isHopeless = files.contains { file in
      if case .unknown = file.reason { false } else { true }
    }
    if isHopeless, let way { lines.append(way) }
    return lines
  }
}

/// The source in whose order new files of another one come.
struct PartnerOrder: Sendable {
  /// What is done with a file of a listing or directory, or with a place that no file has.
  enum Slot: Sendable, Equatable {
    /// The new file of this number comes here.
    case file(Int)
    /// Nothing ever comes here, as the partner's shard at this place was dropped; what a file would be called.
    case empty(Int, name: String)

    /// The number of the file that comes here; nil for none.
    var file: Int? { if case .file(let number) = self { number } else { nil } }
  }

  /// What becomes of new files.
  struct Arrangement: Sendable {
    /// What follows the last shard, in order.
    var slots: [Slot] = []
    var waiting: [WaitingFile] = []
  }

  /// The partner's name.
  let partner: String
  /// Names of its files, by place.
  let partners: [String]
  /// Rows of its shards that were dropped, by place.
  let dropped: [Int: Int]
  /// Whether files wait for those before them.
  ///
  /// A companion is no leader: its owner follows it where it has all names.
  let isLeader: Bool
  /// Whether nobody named it: the names of both sources told.
  let isDerived: Bool
  /// Whether the source says what is known of the partner's rows.
  let isOfCompanion: Bool

  /// Finds in whose order new files of a source come; nil where that is their own.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - asked: The name of the one that was asked for; that of the source itself for none.
  ///   - isInOwnOrder: Whether somebody gave the files in an order that is meant.
  ///   - catalog: A lake.
  /// - Throws: ``TarnError`` `.notFound` for a name that no source has.
  init?(of source: Source, asked: String?, inOwnOrder isInOwnOrder: Bool, _ catalog: LakeCatalog) throws {
    guard asked != source.name else { return nil }
    let named = try asked.map(catalog.source(named:)) ?? source.companionOf.map { try catalog.source(id: $0) }
    let derived = try named == nil && !isInOwnOrder ? catalog.images(followedBy: source) : nil
    guard let partner = try named ?? derived ?? catalog.companions(of: source).first else { return nil }
    self.partner = partner.name
    partners = try catalog.fileNames(of: partner)
    dropped = try catalog.droppedRowCounts(of: partner)
    isLeader = named != nil || derived != nil
    isDerived = named == nil && derived != nil
    isOfCompanion = source.companionOf == partner.filesID
  }

  /// The order of a source that is to be registered.
  ///
  /// - Parameters:
  ///   - partner: The source that it pairs with.
  ///   - isOfCompanion: Whether it says what is known of that one's rows.
  ///   - catalog: A lake.
  /// - Throws: ``TarnError``.
  init(besides partner: Source, companion isOfCompanion: Bool, _ catalog: LakeCatalog) throws {
    self.partner = partner.name
    partners = try catalog.fileNames(of: partner)
    dropped = try catalog.droppedRowCounts(of: partner)
    (isLeader, isDerived, self.isOfCompanion) = (true, false, isOfCompanion)
  }

  /// What helps where a file never comes that others wait for.
  var way: String { LakeCatalog.way(besides: partner, companion: isOfCompanion) }

  /// The order of new files.
  ///
  /// - Parameters:
  ///   - names: What they are called.
  ///   - known: Names of the source's files, by place.
  ///   - leavesPlaces: Whether places may stay empty beside shards that were dropped.
  /// - Returns: Nil where they come in their own order, as names tell nothing.
  func arranged(_ names: [String], after known: [String], leavingPlaces leavesPlaces: Bool) -> Arrangement? {
    guard !names.isEmpty, let places = PartnerNames.places(of: names, after: known, like: partners) else { return nil }
    guard isLeader else {
      // What pairs with it has shown its order; it need not have all of them.
      let found = places.compactMap(\.self)
      guard found.count == names.count, found.allSatisfy({ $0 >= known.count }) else { return nil }
      return Arrangement(slots: names.indices.sorted { found[$0] < found[$1] }.map { .file($0) })
    }
    var arrangement = Arrangement()
    var byPlace: [Int: Int] = [:]
    for (number, place) in places.enumerated() {
      guard let place else {
        arrangement.waiting.append(WaitingFile(name: names[number], reason: .unknown(source: partner)))
        continue
      }
      guard place >= known.count else {
        arrangement.waiting.append(
          WaitingFile(name: names[number], reason: .taken(by: known[place], partner: partners[place])))
        continue
      }
      byPlace[place] = number
    }
    let empty =
      leavesPlaces
      ? PartnerNames.names(
        beside: dropped.keys.filter { byPlace[$0] == nil }, of: known + byPlace.values.sorted().map { names[$0] },
        placed: known.count, like: partners) : [:]
    let (slots, lack) = Self.slots(byPlace, from: known.count, leaving: empty)
    arrangement.slots = slots
    if let lack {
      let late = byPlace.filter { $0.key > lack }.sorted { $0.key < $1.key }.map(\.value)
      arrangement.waiting =
        late.map { WaitingFile(name: names[$0], reason: .before(partner: partners[lack])) } + arrangement.waiting
    }
    return arrangement
  }

  /// What follows the last shard.
  ///
  /// - Parameters:
  ///   - files: Numbers of new files, by the places of their partners.
  ///   - first: The place behind the last shard.
  ///   - empty: Places that need no file, and what one would be called.
  /// - Returns: What comes there, in order, and the place whose file lacks, where others belong behind it.
  private static func slots(
    _ files: [Int: Int], from first: Int, leaving empty: [Int: String]
  ) -> (slots: [Slot], lack: Int?) {
    var slots: [Slot] = []
    guard let last = files.keys.max(), last >= first else { return (slots, nil) }
    var end = 0
    for place in first...last {
      if let file = files[place] {
        slots.append(.file(file))
        end = slots.count
      } else if let name = empty[place] {
        slots.append(.empty(place, name: name))
      } else {
        // An empty place is made when the file behind it comes.
        return (Array(slots.prefix(end)), place)
      }
    }
    return (slots, nil)
  }
}
