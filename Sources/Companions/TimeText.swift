// Times as people write them in conditions, in the one form that they are compared in: that in which tarn writes those of
// parquet (``CivilTime``), without the zeros that end a fraction.

internal import Base

/// Times as text: `2024-02-29T12:30:00.25`, and `12:30:00.25` of any day.
///
/// In this form one time has one text, and earlier ones come first byte by byte.
enum TimeText {
  private static let (date, time) = (Array("0000-00-00".utf8), Array("00:00:00".utf8))
  /// Digits of fractions that tarn writes.
  private static let fractions = [3, 6, 9]

  /// A value that is written as tarn writes a timestamp or a time of day; nil for any other text.
  static func ofValue(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    let own = fits(text, date) ? text.dropFirst(date.count) : nil
    if let own, own.first != UInt8(ascii: "T") { return nil }
    let rest = own?.dropFirst() ?? text
    guard fits(rest, time), fractions.contains(rest.count - time.count - 1),
      rest[rest.startIndex + time.count] == UInt8(ascii: "."), rest.dropFirst(time.count + 1).allSatisfy(\.isDigit)
    else { return nil }
    return trimmed(text)
  }

  /// A literal that is a date, a time of day or both: the date and the time with `T` or a space between them, seconds and
  /// their fraction or none, `Z` or `+00:00` behind or not; nil for any other text.
  static func ofLiteral(_ text: [UInt8]) -> [UInt8]? {
    let isDated = fits(text[...], date)
    if isDated, text.count == date.count { return text + Array("T00:00:00".utf8) }
    var rest = text.dropFirst(isDated ? date.count : 0)
    if isDated {
      guard let first = rest.popFirst(), first == UInt8(ascii: "T") || first == UInt8(ascii: " ") else { return nil }
    }
    for zone in ["Z", "+00:00"] where rest.suffix(zone.utf8.count).elementsEqual(zone.utf8) {
      rest = rest.dropLast(zone.utf8.count)
      break
    }
    var found = Array(rest)
    if found.count == 5 { found += Array(":00".utf8) }
    guard fits(found[...], time) else { return nil }
    if found.count > time.count {
      guard found[time.count] == UInt8(ascii: "."), found.count > time.count + 1,
        found[(time.count + 1)...].allSatisfy(\.isDigit)
      else { return nil }
      found = Array(trimmed(found[...]))
    }
    guard isDated else { return found }
    return Array(text[..<date.count]) + [UInt8(ascii: "T")] + found
  }

  /// Whether two texts in that form are of one kind: with a date or without.
  static func areAlike(_ first: ArraySlice<UInt8>, _ second: [UInt8]) -> Bool {
    (first[first.startIndex + 2] == UInt8(ascii: ":")) == (second[2] == UInt8(ascii: ":"))
  }

  /// Whether a text begins as a shape, in which `0` is any digit.
  private static func fits(_ text: ArraySlice<UInt8>, _ shape: [UInt8]) -> Bool {
    text.count >= shape.count
      && zip(text, shape).allSatisfy { $1 == UInt8(ascii: "0") ? $0.isDigit : $0 == $1 }
  }

  /// A time with a fraction without the zeros at its end.
  private static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var text = text
    while text.last == UInt8(ascii: "0") { text.removeLast() }
    if text.last == UInt8(ascii: ".") { text.removeLast() }
    return text
  }
}
