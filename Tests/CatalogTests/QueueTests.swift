// The queue against an array that does the same slowly.

import Base
import Testing

@Suite struct QueueTests {
  @Test(arguments: 0..<20) func doesWhatAnArrayDoes(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    var queue = Queue<Int>()
    var array: [Int] = []
    for number in 0..<2_000 {
      switch random.next(below: seed % 2 == 0 ? 5 : 4) {
      case 0:
        queue.prepend(number)
        array.insert(number, at: 0)
      case 1:
        queue.append(number)
        array.append(number)
      default:
        #expect(queue.popFirst() == (array.isEmpty ? nil : array.removeFirst()))
      }
      #expect(queue.count == array.count && queue.isEmpty == array.isEmpty && queue.first == array.first)
    }
    for number in 0..<100 {
      queue.append(number)
      array.append(number)
    }
    #expect(queue.elements == array)
    queue.removeAll()
    #expect(queue.isEmpty && queue.popFirst() == nil && queue.elements.isEmpty)
  }

  /// At the cost of `Array.removeFirst` this would take many minutes.
  @Test func aMillionTurnsTakeNoTimeWorthMeasuring() {
    var queue = Queue<[Int]>()
    for number in 0..<1_000_000 { queue.append([number, 0, 0, 0]) }
    var next = 0
    while let element = queue.popFirst() {
      guard element[0] == next else {
        Issue.record("\(element[0]) came where it was the turn of \(next)")
        return
      }
      // Every third one comes back once, as a shard that outgrew its room.
      if next % 3 == 0, element[1] == 0 { queue.prepend([next, 1, 0, 0]) } else { next += 1 }
    }
    #expect(next == 1_000_000)
  }
}
