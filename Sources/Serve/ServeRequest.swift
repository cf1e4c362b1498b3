// A request as it came, taken apart and believed no further than it has to be.

internal import Base

/// The head of a request.
package struct RequestHead: Sendable {
  package let method: String
  /// As it stood in the request's line.
  package let target: String
  /// Names in lower case, in the order that they came in.
  package let headers: [(name: String, value: String)]

  package init(method: String, target: String, headers: [(name: String, value: String)]) {
    self.method = method
    self.target = target
    self.headers = headers.map { ($0.name.lowercased(), $0.value) }
  }

  /// The values of a header, one each time it was sent.
  func values(_ name: String) -> [String] { headers.filter { $0.name == name }.map(\.value) }

  /// Bytes of its body, as it announces them; 0 where it does not.
  var announcedByteCount: Int { values("content-length").first.flatMap { Int($0) } ?? 0 }
}

/// The target of a request, in origin form.
package struct RequestTarget: Sendable, Equatable {
  /// The parts of the path between slashes, decoded; none of `/`.
  package let parts: [String]
  /// The items of the query in their order, decoded.
  package let items: [Item]

  package struct Item: Sendable, Equatable {
    package let name: String
    package let value: String

    /// The items of a query or of a form's body; nil where percent signs stand for nothing.
    package static func all(in text: Substring) -> [Item]? {
      var items: [Item] = []
      for pair in text.split(separator: "&") {
        let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = RequestTarget.decoded(sides[0], spaces: true),
          let value = sides.count > 1 ? RequestTarget.decoded(sides[1], spaces: true) : ""
        else { return nil }
        items.append(Item(name: name, value: value))
      }
      return items
    }
  }

  /// Takes a target apart: `/path?name=value`.
  ///
  /// It is nil for another form, a part that is empty, a dot or two, holds a slash, a backslash or a control, and for percent
  /// signs that stand for nothing or for what is no UTF-8.
  package init?(parsing text: String) {
    guard text.isVisibleASCII, text.hasPrefix("/"), !text.contains("#") else { return nil }
    let halves = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    var parts: [String] = []
    if halves[0] != "/" {
      for part in halves[0].dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
        guard let part = Self.decoded(part, spaces: false), !part.isEmpty, part != ".", part != "..",
          !part.unicodeScalars.contains(where: { $0 == "/" || $0 == "\\" || $0.value < 0x20 || $0.value == 0x7F })
        else { return nil }
        parts.append(part)
      }
    }
    guard let items = Item.all(in: halves.count > 1 ? halves[1] : "") else { return nil }
    (self.parts, self.items) = (parts, items)
  }

  /// The value of a query item; nil where it is not there.
  package subscript(_ name: String) -> String? { items.first { $0.name == name }?.value }

  fileprivate static func decoded(_ text: Substring, spaces: Bool) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "%"):
        guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
        bytes.append(high << 4 | low)
      case UInt8(ascii: "+") where spaces: bytes.append(0x20)
      default: bytes.append(byte)
      }
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    Character(Unicode.Scalar(byte)).hexDigitValue.map(UInt8.init)
  }
}

/// A request that is whole and may be answered.
package struct ServeRequest: Sendable {
  package let head: RequestHead
  package let target: RequestTarget
  package let route: ServeRoute
  package let body: [UInt8]
  /// Whether who asked has gone away.
  package let isGone: @Sendable () -> Bool

  package init(
    head: RequestHead, target: RequestTarget, route: ServeRoute, body: [UInt8],
    isGone: @escaping @Sendable () -> Bool = { false }
  ) {
    self.head = head
    self.target = target
    self.route = route
    self.body = body
    self.isGone = isGone
  }

  /// The fields of a form, by the query of a GET or the body of a POST.
  ///
  /// - Throws: ``TarnError`` `.usage` where that cannot be read.
  func form() throws -> [RequestTarget.Item] {
    guard !body.isEmpty else { return target.items }
    guard let items = RequestTarget.Item.all(in: Substring(String(decoding: body, as: UTF8.self))) else {
      throw TarnError(.usage, "the form cannot be read", hint: "a percent sign stands in it as %25")
    }
    return items
  }
}

extension [RequestTarget.Item] {
  /// What was written into a field; nil for nothing.
  func value(_ name: String) -> String? { first { $0.name == name && !$0.value.isEmpty }?.value }
}
