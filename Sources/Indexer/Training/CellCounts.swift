// The captions of each cell of k-means, and which cell has most: asked once for each empty
// cell, of which there may be as many as there are cells.

/// Numbers of cells that change, and the greatest of them.
struct CellCounts {
  private var counts: [Int]
  /// A binary tree from 1 on: the leaves are the cells, each other node the fuller of the two below.
  private var fuller: [Int]
  private let width: Int

  /// - Parameter counts: One for each cell, of which there is one at least.
  init(_ counts: [Int]) {
    self.counts = counts
    var width = 1
    while width < counts.count { width *= 2 }
    self.width = width
    fuller = [Int](repeating: 0, count: width) + (0..<width)
    for node in stride(from: width - 1, through: 1, by: -1) { decide(node) }
  }

  /// The cell with most, the lowest of equal ones.
  var fullest: Int { fuller[1] }

  subscript(cell: Int) -> Int {
    get { counts[cell] }
    set {
      counts[cell] = newValue
      var node = (width + cell) / 2
      while node >= 1 {
        decide(node)
        node /= 2
      }
    }
  }

  private mutating func decide(_ node: Int) {
    let (left, right) = (fuller[2 * node], fuller[2 * node + 1])
    fuller[node] = right < counts.count && counts[right] > counts[left] ? right : left
  }
}
