// Sources pair by place: row i of a caption shard is of the image in row i of the shard at the same place. Files
// arrive in their own order, and their names often tell where they belong; here is said what names tell.

/// What the names of two sources' files say about which belong together.
///
/// 1. The *mark* of a name is what it has between the beginning and the end that all names of its source share, which
///    end in no middle of a number. A number counts whatever zeros it begins with.
/// 2. Where numbers differ by the same amount at the first place and at most others, and more names have partners so than
///    without, they are *counted from another number* and compared as the partner counts: in sources of as many names,
///    or of which one counts from 0 and one from 1. For a companion, which was held against its owner when it was
///    registered, as many partners are enough: the owner may have grown since.
/// 3. Names tell something if no two of a source have one mark, and all marks of the source with fewer are marks of
///    the other, or more than half of them, and not both count in steps of their own: numbers of rows beside numbers
///    of files meet by chance.
/// 4. A name *disagrees* with its place if its mark is not that of the partner's name there, and one of both is the
///    mark of a name of the other source elsewhere.
package enum PartnerNames {
  /// A name that stands beside another partner than its own.
  package struct Disagreement: Sendable, Equatable {
    /// Where it stands.
    package let place: Int
    /// Why that is not its place: `and belongs beside s2.npy by its name`.
    package let reason: String
  }

  /// How many bytes at the beginning and at the end all names share, which end in no middle of a number.
  private static func shared(_ texts: [[UInt8]]) -> (beginning: Int, end: Int) {
    var (beginning, end) = (texts[0].count, texts[0].count)
    for text in texts.dropFirst() {
      beginning = min(beginning, zip(text, texts[0]).prefix { $0 == $1 }.count)
      end = min(end, zip(text.reversed(), texts[0].reversed()).prefix { $0 == $1 }.count)
    }
    while beginning > 0, texts[0][beginning - 1].isDigit { beginning -= 1 }
    while end > 0, texts[0][texts[0].count - end].isDigit { end -= 1 }
    return (beginning, end)
  }

  /// What all names begin and end with; nil for fewer than two.
  private static func sharedEnds(of names: [String]) -> (beginning: [UInt8], end: [UInt8])? {
    guard names.count > 1 else { return nil }
    let texts = names.map { Array($0.utf8) }
    let (beginning, end) = shared(texts)
    return (Array(texts[0].prefix(beginning)), Array(texts[0].suffix(end)))
  }

  /// What tells each name from the others.
  ///
  /// - Parameter names: Names of a source's files, by place.
  /// - Returns: Their marks; nil where two are alike, and for fewer than two.
  static func marks(of names: [String]) -> [String]? {
    guard names.count > 1 else { return nil }
    let texts = names.map { Array($0.utf8) }
    let (beginning, end) = shared(texts)
    let marks = texts.map { text in
      // Of a and aa the beginning and the end are the same letter.
      mark(text[beginning..<max(beginning, text.count - end)])
    }
    return Set(marks).count == marks.count ? marks : nil
  }

  private static func mark(_ text: ArraySlice<UInt8>) -> String {
    guard !text.isEmpty, text.allSatisfy(\.isDigit) else { return String(decoding: text, as: UTF8.self) }
    let number = text.drop { $0 == 0x30 }
    return number.isEmpty ? "0" : String(decoding: number, as: UTF8.self)
  }

  /// The marks of two sources, of which the one's are as the other counts.
  private struct Pairing {
    let own: [String]
    let others: [String]
    /// Places by marks.
    let ownPlaces: [String: Int]
    let places: [String: Int]
    /// How many marks both have.
    let matchCount: Int
    /// By how much numbers of the one are greater.
    let difference: Int

    init(_ own: [String], _ others: [String], difference: Int = 0) {
      (self.own, self.others, self.difference) = (own, others, difference)
      ownPlaces = Dictionary(uniqueKeysWithValues: zip(own, own.indices))
      let places = Dictionary(uniqueKeysWithValues: zip(others, others.indices))
      matchCount = own.count { places[$0] != nil }
      self.places = places
    }

    /// Whether so many marks are those of the other source that it is no chance.
    var isNoChance: Bool {
      let most = min(own.count, others.count)
      guard matchCount < most else { return true }
      guard 2 * matchCount > most else { return false }
      guard let step = PartnerNames.step(of: own), let other = PartnerNames.step(of: others) else { return true }
      return step == other
    }
  }

  /// What tells which names belong together.
  ///
  /// - Parameters:
  ///   - names: Names of a source's files, by place; behind those that have one, new ones may follow.
  ///   - partners: Those of the source that it pairs with.
  ///   - count: How many have a place.
  ///   - isRegistered: Whether these were held against the partner's when they were registered.
  /// - Returns: Their marks; nil where names tell nothing.
  private static func pairing(
    of names: [String], with partners: [String], placed count: Int, registered isRegistered: Bool
  ) -> Pairing? {
    guard let own = marks(of: names), let others = marks(of: partners) else { return nil }
    let same = Pairing(own, others)
    let shifted = shifted(own, others, placed: count, registered: isRegistered)
    let isShifted = shifted.map { $0.matchCount > same.matchCount - (isRegistered ? 1 : 0) } ?? false
    let found = isShifted ? shifted ?? same : same
    return found.isNoChance ? found : nil
  }

  /// The marks if one source counts from another number; nil where nothing speaks for that.
  private static func shifted(
    _ own: [String], _ others: [String], placed count: Int, registered isRegistered: Bool
  ) -> Pairing? {
    guard var first = numbers(of: own), var second = numbers(of: others) else { return nil }
    let all = first
    if count == 0 { (first, second) = (first.sorted(), second.sorted()) } else { first = Array(first.prefix(count)) }
    let difference = first[0] - second[0]
    let evenCount = zip(first, second).count { $0 - $1 == difference }
    guard difference != 0, 2 * evenCount > min(first.count, second.count),
      isRegistered || own.count == others.count || Set([first[0], second[0]]) == [0, 1]
    else { return nil }
    return Pairing(all.map { String($0 - difference) }, others, difference: difference)
  }

  /// Numbers from here on are no numbers of files; of those below, sums and differences of any three are numbers.
  private static let endOfNumbers = 1 << 61

  /// Marks as numbers; nil where one is none.
  private static func numbers(of marks: [String]) -> [Int]? {
    let numbers = marks.compactMap { mark -> Int? in
      guard mark.utf8.allSatisfy(\.isDigit), let number = Int(mark), number < endOfNumbers else { return nil }
      return number
    }
    return numbers.count == marks.count ? numbers : nil
  }

  /// By how much each number is greater than the one before it; nil where that is not the same for all.
  private static func step(of marks: [String]) -> Int? {
    guard let numbers = numbers(of: marks)?.sorted() else { return nil }
    let steps = Set(zip(numbers, numbers.dropFirst()).map { $1 - $0 })
    return steps.count == 1 ? steps.first : nil
  }

  /// The names that stand beside another partner than their own.
  ///
  /// - Parameters:
  ///   - names: Names of a source's files, by place.
  ///   - partners: Those of the source that it pairs with.
  ///   - isRegistered: Whether they were held against the partner's when they were registered, as a companion's are.
  /// - Returns: Each that disagrees with its place, ascending.
  package static func disagreements(
    of names: [String], with partners: [String], registered isRegistered: Bool = false
  ) -> [Disagreement] {
    guard let pairing = pairing(of: names, with: partners, placed: names.count, registered: isRegistered) else {
      return []
    }
    return pairing.own.enumerated().compactMap { place, mark in
      let other = place < partners.count ? pairing.others[place] : nil
      guard other != mark else { return nil }
      if let partner = pairing.places[mark] {
        return Disagreement(place: place, reason: "and belongs beside \(partners[partner].printable) by its name")
      }
      guard let meant = other.flatMap({ pairing.ownPlaces[$0] }) else { return nil }
      return Disagreement(place: place, reason: "beside which \(names[meant].printable) belongs by its name")
    }
  }

  /// Whether names stand at the places of their partners, two at least and all for which there are such.
  ///
  /// - Parameters:
  ///   - names: Names of a source's files, by place.
  ///   - partners: Those of another source.
  /// - Returns: That it is so; where names tell nothing it is not.
  package static func follow(_ names: [String], _ partners: [String]) -> Bool {
    guard let pairing = pairing(of: names, with: partners, placed: names.count, registered: true) else { return false }
    return zip(pairing.own, pairing.others).allSatisfy { $0 == $1 }
  }

  /// Where new names belong.
  ///
  /// - Parameters:
  ///   - names: Names of new files.
  ///   - known: Names of the source's files, by place.
  ///   - partners: Those of the source that it pairs with.
  /// - Returns: The place of each new name's partner, nil for a name that has none; nil where names tell nothing at
  ///   all.
  package static func places(of names: [String], after known: [String], like partners: [String]) -> [Int?]? {
    func found(_ names: [String]) -> [Int?]? {
      pairing(of: known + names, with: partners, placed: known.count, registered: !known.isEmpty).map { pairing in
        pairing.own.dropFirst(known.count).map { pairing.places[$0] }
      }
    }
    if let all = found(names) { return all }
    // One that is called quite otherwise takes nothing from what the others tell.
    guard let (beginning, end) = sharedEnds(of: known) else { return nil }
    let kin = names.indices.filter { number in
      let text = Array(names[number].utf8)
      return text.starts(with: beginning) && Array(text.suffix(end.count)) == end
    }
    guard kin.count < names.count, let some = found(kin.map { names[$0] }) else { return nil }
    var places = [Int?](repeating: nil, count: names.count)
    for (number, place) in zip(kin, some) { places[number] = place }
    return places
  }

  /// What files would be called that belong beside others.
  ///
  /// - Parameters:
  ///   - places: Places of partners whose files are not there.
  ///   - names: Names of the source's files: those that have places, and new ones.
  ///   - count: How many have places.
  ///   - partners: Names of the source that it pairs with.
  /// - Returns: By place; nothing where names tell nothing, or a file is called so.
  package static func names(
    beside places: [Int], of names: [String], placed count: Int, like partners: [String]
  ) -> [Int: String] {
    guard !places.isEmpty, let (beginning, end) = sharedEnds(of: names),
      let pairing = pairing(of: names, with: partners, placed: count, registered: count > 0)
    else { return [:] }
    let lengths = Set(names.map { $0.utf8.count - beginning.count - end.count })
    let width = lengths.count == 1 ? lengths.first ?? 0 : 0
    let there = Set(names)
    var found: [Int: String] = [:]
    for place in places where partners.indices.contains(place) {
      var mark = pairing.others[place]
      if let number = numbers(of: [mark])?.first {
        // Whoever counts from a greater number has nothing before it.
        guard number + pairing.difference >= 0 else { continue }
        mark = String(number + pairing.difference)
        mark = String(repeating: "0", count: max(0, width - mark.utf8.count)) + mark
      }
      let name = String(decoding: beginning + Array(mark.utf8) + end, as: UTF8.self)
      if !there.contains(name) { found[place] = name }
    }
    return found
  }
}
