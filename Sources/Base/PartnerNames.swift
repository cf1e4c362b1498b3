// Sources pair by place: row i of a caption shard is of the image in row i of the shard at the same place. Files
// arrive in their own order, and their names often tell where they belong; here is said what names tell.

/// What the names of two sources' files say about which belong together.
///
/// 1. The *mark* of a name is what it has between the beginning and the end that all names of its source share, which
///    end in no middle of a number. A number counts whatever zeros it begins with.
/// 2. Names tell something if no two of a source have one mark, and half of the marks of the source with fewer, or more, are
///    marks of the other: numbers of rows beside numbers of files meet by chance.
/// 3. A name *disagrees* with its place if its mark is not that of the partner's name there, and one of both is the mark of a
///    name of the other source elsewhere. Where numbers differ by the same amount everywhere none does, if both sources have
///    as many names, or one counts from 0 and the other from 1.
package enum PartnerNames {
  /// A name that stands beside another partner than its own.
  package struct Disagreement: Sendable, Equatable {
    /// Where it stands.
    package let place: Int
    /// Why that is not its place: `and belongs beside s2.npy by its name`.
    package let reason: String
  }

  /// What tells each name from the others.
  ///
  /// - Parameter names: Names of a source's files, by place.
  /// - Returns: Their marks; nil where two are alike, and for fewer than two.
  static func marks(of names: [String]) -> [String]? {
    guard names.count > 1 else { return nil }
    let texts = names.map { Array($0.utf8) }
    var (beginning, end) = (texts[0].count, texts[0].count)
    for text in texts.dropFirst() {
      beginning = min(beginning, zip(text, texts[0]).prefix { $0 == $1 }.count)
      end = min(end, zip(text.reversed(), texts[0].reversed()).prefix { $0 == $1 }.count)
    }
    while beginning > 0, isDigit(texts[0][beginning - 1]) { beginning -= 1 }
    while end > 0, isDigit(texts[0][texts[0].count - end]) { end -= 1 }
    let marks = texts.map { text in
      // Of a and aa the beginning and the end are the same letter.
      mark(text[beginning..<max(beginning, text.count - end)])
    }
    return Set(marks).count == marks.count ? marks : nil
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

  private static func mark(_ text: ArraySlice<UInt8>) -> String {
    guard !text.isEmpty, text.allSatisfy(isDigit) else { return String(decoding: text, as: UTF8.self) }
    let number = text.drop { $0 == 0x30 }
    return number.isEmpty ? "0" : String(decoding: number, as: UTF8.self)
  }

  /// Whether two names have the same numbers in the same order, which a look at these two tells.
  package static func agree(_ name: String, _ partner: String) -> Bool {
    func numbers(_ name: String) -> [ArraySlice<UInt8>] {
      Array(name.utf8).split { !isDigit($0) }.map { $0.drop { $0 == 0x30 } }
    }
    let own = numbers(name)
    return !own.isEmpty && own == numbers(partner)
  }

  /// The names that stand beside another partner than their own.
  ///
  /// - Parameters:
  ///   - names: Names of a source's files, by place.
  ///   - partners: Those of the source that it pairs with.
  /// - Returns: Each that disagrees with its place, ascending.
  package static func disagreements(of names: [String], with partners: [String]) -> [Disagreement] {
    guard let own = marks(of: names), let others = marks(of: partners), meet(own, others) else { return [] }
    if evenDifference(own, others) != nil {
      let isCountedFrom01 = Set([own[0], others[0]]) == ["0", "1"]
      guard own.count != others.count, !isCountedFrom01 else { return [] }
    }
    let (ownPlaces, places) = (self.places(of: own), self.places(of: others))
    return own.enumerated().compactMap { place, mark in
      let other = place < others.count ? others[place] : nil
      guard other != mark else { return nil }
      if let partner = places[mark] {
        return Disagreement(place: place, reason: "and belongs beside \(partners[partner].printable) by its name")
      }
      guard let meant = other.flatMap({ ownPlaces[$0] }) else { return nil }
      return Disagreement(place: place, reason: "beside which \(names[meant].printable) belongs by its name")
    }
  }

  private static func places(of marks: [String]) -> [String: Int] {
    Dictionary(uniqueKeysWithValues: zip(marks, marks.indices))
  }

  /// Whether so many marks are those of the other source that it is no chance.
  private static func meet(_ marks: [String], _ others: [String]) -> Bool {
    2 * Set(marks).intersection(others).count >= min(marks.count, others.count)
  }

  /// By how much the numbers at each place differ; nil where that is not the same everywhere, or some are none.
  private static func evenDifference(_ marks: [String], _ others: [String]) -> Int? {
    var difference: Int?
    for (mark, other) in zip(marks, others) {
      guard let mark = Int(mark), let other = Int(other) else { return nil }
      let own = mark.subtractingReportingOverflow(other)
      guard !own.overflow, difference == nil || difference == own.partialValue else { return nil }
      difference = own.partialValue
    }
    return difference
  }

  /// Where new names belong.
  ///
  /// - Parameters:
  ///   - names: Names of new files.
  ///   - known: Names of the source's files, by place.
  ///   - partners: Those of the source that it pairs with.
  /// - Returns: The place of each new name's partner; nil where the names do not tell all of them, and where those known
  ///   count from another number.
  package static func places(of names: [String], after known: [String], like partners: [String]) -> [Int]? {
    guard let own = marks(of: known + names), let others = marks(of: partners), meet(own, others) else { return nil }
    guard (evenDifference(Array(own.prefix(known.count)), others) ?? 0) == 0 else { return nil }
    let places = self.places(of: others)
    let found = own.dropFirst(known.count).compactMap { places[$0] }
    return found.count == names.count ? found : nil
  }
}
