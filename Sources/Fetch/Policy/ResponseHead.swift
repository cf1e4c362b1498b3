// The head of an HTTP answer: status line and fields, read line by line, and
// the few field values that decide what a body is worth. No I/O.

internal import Base
package import Foundation

/// A status line and its header fields, names in lower case.
package struct ResponseHead: Sendable, Equatable {
  package struct Field: Sendable, Equatable {
    package let name: String
    package let value: String
  }

  package let statusCode: Int
  package private(set) var fields: [Field]

  package init(statusCode: Int, fields: [(String, String)] = []) {
    self.statusCode = statusCode
    self.fields = fields.map { Field(name: $0.0.lowercased(), value: $0.1) }
  }

  /// All values of a field, in order.
  package func values(_ name: String) -> [String] {
    fields.filter { $0.name == name }.map(\.value)
  }

  /// The value of a field that occurs once; nil otherwise.
  package func value(_ name: String) -> String? {
    let values = values(name)
    return values.count == 1 ? values[0] : nil
  }

  fileprivate mutating func append(_ field: Field) { fields.append(field) }

  /// Whether it sends whoever asks elsewhere.
  var isRedirect: Bool { [301, 302, 303, 307, 308].contains(statusCode) }

  /// R22: whether the body calls itself a web page.
  package var isPage: Bool {
    guard let type = value("content-type")?.split(separator: ";").first else { return false }
    return ["text/html", "application/xhtml+xml"].contains(type.trimmingCharacters(in: .whitespaces).lowercased())
  }

  /// R1: the encoding of a body whose bytes are not the file's; nil where they are.
  var encoding: String? { values("content-encoding").first { !["identity", ""].contains($0.lowercased()) } }

  /// How long the body says it is.
  package enum BodyLength: Sendable, Equatable {
    case exactly(Int)
    /// Chunked, or up to the end of the connection.
    case unknown
    /// Several lengths, or none that is a number or that a file can have.
    case contradictory
  }

  /// The announced length of the body.
  ///
  /// R9: `Transfer-Encoding` beats `Content-Length`.
  package var bodyLength: BodyLength {
    if !values("transfer-encoding").isEmpty { return .unknown }
    let lengths = Set(values("content-length"))
    guard let text = lengths.first else { return .unknown }
    guard lengths.count == 1, let length = decimal(text[...]) else { return .contradictory }
    return length == 0 || ForeignNumber.byteCount.holds(length) ? .exactly(length) : .contradictory
  }

  /// Whether a body that is cut is known to be: its end is not that of the connection.
  var tellsItsEnd: Bool {
    let codings = values("transfer-encoding")
    return codings.isEmpty
      ? !values("content-length").isEmpty : codings.contains { $0.lowercased().contains("chunked") }
  }

  /// What the answer says to tell this revision of its bytes from others.
  package var validator: EntityValidator {
    let lastModified = value("last-modified")
    var isDateStrong = false
    if let modified = lastModified.flatMap(HTTPDate.parse), let sent = value("date").flatMap(HTTPDate.parse) {
      isDateStrong = sent.timeIntervalSince(modified) >= 60
    }
    return EntityValidator(etag: value("etag"), lastModified: lastModified, isDateStrong: isDateStrong)
  }
}

/// What tells one revision of a resource from another.
package struct EntityValidator: Sendable, Equatable, Codable {
  package var etag: String?
  package var lastModified: String?
  /// Whether the resource was at least 60 s old when it was sent, so that two
  /// revisions cannot share `lastModified` (RFC 9110 8.8.2.2, RFC 7232).
  package var isDateStrong: Bool

  package init(etag: String? = nil, lastModified: String? = nil, isDateStrong: Bool = false) {
    self.etag = etag
    self.lastModified = lastModified
    self.isDateStrong = isDateStrong
  }

  /// The ETag, if bytes are equal whenever it is.
  package var strongETag: String? { etag.flatMap { Self.isTag($0[...]) ? $0 : nil } }

  /// The value to send as `If-Range`; nil when nothing known is strong (R2).
  package var ifRange: String? { strongETag ?? (isDateStrong ? sendableDate : nil) }

  /// The header line that asks for another revision than this; nil when nothing known can be sent.
  package var conditionLine: String? {
    if let etag, Self.isTag(etag.hasPrefix("W/") ? etag.dropFirst(2) : etag[...]) { return "If-None-Match: \(etag)" }
    return sendableDate.map { "If-Modified-Since: \($0)" }
  }

  /// The date, if a header line can have it: it is sent as it came.
  private var sendableDate: String? {
    guard let lastModified, (1...64).contains(lastModified.utf8.count),
      lastModified.utf8.allSatisfy({ (0x20...0x7E).contains($0) })
    else { return nil }
    return lastModified
  }

  /// Servers refuse header lines that are much longer.
  private static let mostTagByteCount = 4_096

  /// Whether a text is a tag that can be sent back: it, and parts that were kept with it, are asked about for as long
  /// as they are there.
  ///
  /// - SeeAlso: RFC 9110 8.8.3, opaque-tag.
  private static func isTag(_ text: Substring) -> Bool {
    let scalars = text.unicodeScalars
    guard (2...mostTagByteCount).contains(text.utf8.count), scalars.first == "\"", scalars.last == "\"" else {
      return false
    }
    // U+FFFD stands for bytes that are no UTF-8: what they were is not known any more.
    return scalars.dropFirst().dropLast().allSatisfy {
      $0 == "!" || (0x23...0x7E).contains($0.value) || $0.value >= 0x80 && $0 != "\u{FFFD}"
    }
  }

  /// Whether two answers can be of one revision; nil when they do not say.
  package func agrees(with other: EntityValidator) -> Bool? {
    if let etag, let otherTag = other.etag { return etag == otherTag }
    if let lastModified, let otherDate = other.lastModified { return lastModified == otherDate }
    return nil
  }
}

/// Reads header lines as libcurl hands them over, until a final head is whole.
package struct ResponseHeadReader: Sendable {
  /// What a line made of the head.
  package enum Step: Sendable, Equatable {
    case more
    case head(ResponseHead)
    /// Not a head, or one without end: the cause.
    case malformed(String)
  }

  private var head: ResponseHead?

  package init() {}

  /// Takes one line with its line ending.
  ///
  /// R9: every status line forgets what came before it. A head with a 1xx
  /// status is not the answer.
  package mutating func read(_ bytes: [UInt8]) -> Step {
    let line = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    if line.hasPrefix("HTTP/") {
      let words = line.split(separator: " ", maxSplits: 2)
      guard words.count >= 2, words[1].utf8.count == 3, let status = decimal(words[1]) else {
        return .malformed("a status line without a status")
      }
      head = ResponseHead(statusCode: status)
      return .more
    }
    guard let current = head else { return .malformed("headers before a status line") }
    if line.isEmpty {
      if (100..<200).contains(current.statusCode) {
        head = nil
        return .more
      }
      return .head(current)
    }
    guard let colon = line.firstIndex(of: ":") else { return .more }
    let name = line[..<colon].trimmingCharacters(in: .whitespaces).lowercased()
    let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    head?.append(ResponseHead.Field(name: name, value: value))
    return .more
  }
}

/// A `Content-Range` of bytes.
package struct ContentRange: Sendable, Equatable {
  /// First and last byte, both included; nil for `*` (a 416).
  package let span: ClosedRange<Int>?
  /// Bytes of the whole; nil for `*`.
  package let total: Int?

  /// Parses `bytes a-b/T`, `bytes a-b/*` and `bytes */T`; nil for anything else.
  package init?(_ text: String) {
    let words = text.split(separator: " ", omittingEmptySubsequences: true)
    guard words.count == 2, words[0].lowercased() == "bytes" else { return nil }
    let halves = words[1].split(separator: "/", omittingEmptySubsequences: false)
    guard halves.count == 2 else { return nil }
    if halves[1] == "*" {
      total = nil
    } else {
      guard let number = decimal(halves[1]), number == 0 || ForeignNumber.byteCount.holds(number) else { return nil }
      total = number
    }
    if halves[0] == "*" {
      guard total != nil else { return nil }
      span = nil
      return
    }
    let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2, let first = decimal(ends[0]), let last = decimal(ends[1]), first <= last,
      ForeignNumber.byteCount.holds(last + 1)
    else { return nil }
    if let total, last >= total { return nil }
    span = first...last
  }
}

/// Dates as HTTP writes them.
package enum HTTPDate {
  private static let months = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
  ]

  /// Parses `Sun, 06 Nov 1994 08:49:37 GMT`; nil for the obsolete forms.
  ///
  /// - SeeAlso: RFC 9110 5.6.7, IMF-fixdate.
  package static func parse(_ text: String) -> Date? {
    let words = text.split(separator: " ")
    guard words.count == 6, words[5] == "GMT", let day = decimal(words[1]), (1...31).contains(day),
      let month = months.firstIndex(of: words[2].lowercased()), let year = decimal(words[3]),
      (1900...9999).contains(year)
    else { return nil }
    let clock = words[4].split(separator: ":").compactMap { decimal($0) }
    guard clock.count == 3, clock[0] < 24, clock[1] < 60, clock[2] <= 60 else { return nil }
    // Days since 1970-01-01 of the proleptic Gregorian calendar, years from March.
    let shifted = month < 2 ? year - 1 : year
    let dayOfYear = (153 * ((month + 10) % 12) + 2) / 5 + day - 1
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719_468
    return Date(timeIntervalSince1970: Double(days * 86_400 + clock[0] * 3_600 + clock[1] * 60 + clock[2]))
  }
}

/// A number written in digits alone, at most 18 of them; nil for anything else.
func decimal(_ text: Substring) -> Int? {
  guard (1...18).contains(text.utf8.count), text.utf8.allSatisfy(\.isDigit) else { return nil }
  return Int(text)
}
