// What waits its turn, first come first served; taking the first costs the same
// whatever waits behind it, which `Array.removeFirst` does not.

/// A queue whose ends both cost constant time.
package struct Queue<Element: Sendable>: Sendable {
  /// What waits stands from `head` on; before it are places that were left.
  private var places: [Element?] = []
  private var head = 0

  package init() {}

  package var count: Int { places.count - head }
  package var isEmpty: Bool { count == 0 }
  package var first: Element? { isEmpty ? nil : places[head] }

  /// Everything that waits, in order.
  package var elements: [Element] { places[head...].compactMap { $0 } }

  /// Puts something behind all that waits.
  package mutating func append(_ element: Element) { places.append(element) }

  /// Puts something before all that waits.
  package mutating func prepend(_ element: Element) {
    if head == 0 {
      // As many places as are taken, so that the next ones find theirs.
      head = max(8, places.count)
      places.insert(contentsOf: repeatElement(nil, count: head), at: 0)
    }
    head -= 1
    places[head] = element
  }

  /// Takes the first; nil if nothing waits.
  package mutating func popFirst() -> Element? {
    guard let element = first else { return nil }
    places[head] = nil
    head += 1
    // Once more is left behind than waits, moving it costs less than was taken.
    if head > 32, head > count {
      places.removeFirst(head)
      head = 0
    }
    return element
  }

  package mutating func removeAll() { self = Queue() }
}
