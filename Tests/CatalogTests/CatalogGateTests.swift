// A session that ends while other threads ask: none of them reads a closed connection.

import Catalog
import Foundation
import Synchronization
import Testing

@Suite struct CatalogGateTests {
  @Test func whoPassesIsWaitedForAndNobodyPassesAfter() {
    let gate = CatalogGate()
    let passed = Mutex(0)
    let (isInside, goesOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    Thread.detachNewThread {
      gate.passing {
        isInside.signal()
        goesOn.wait()
        passed.withLock { $0 += 1 }
      }
    }
    isInside.wait()
    Thread.detachNewThread { goesOn.signal() }
    gate.shut()
    #expect(passed.withLock(\.self) == 1)
    // Again it does nothing; who comes is left waiting, as at a process's end.
    let comes = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      comes.signal()
      gate.passing { passed.withLock { $0 += 1 } }
    }
    comes.wait()
    gate.shut()
    #expect(passed.withLock(\.self) == 1)
  }
}
