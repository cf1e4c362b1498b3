// What is asked of a word that nobody knows: only what is near.

import Testing

import Base

@Suite struct NearWordsTests {
  @Test func asksAboutWhatIsNear() {
    let names = ["images", "captions", "laion-meta", "clip", "clap"]
    #expect(NearWords.question("imgaes", among: names) == "did you mean 'images'?")
    #expect(NearWords.question("image", among: names) == "did you mean 'images'?")
    #expect(NearWords.question("Images", among: names) == "did you mean 'images'?")
    #expect(NearWords.question("laion", among: names) == "did you mean 'laion-meta'?")
    // The nearest first, each once.
    #expect(NearWords.question("clop", among: names + names) == "did you mean 'clap' or 'clip'?")
    for word in [
      "", "x", "texts", "images-of-everything-else-there-is".uppercased(), String(repeating: "a", count: 9_000),
    ] {
      #expect(NearWords.question(word, among: names) == nil, "\(word)")
    }
    #expect(NearWords.question("a", among: ["b", "c"]) == nil)
  }

  /// Held against the definition: the fewest single slips, each step by step.
  @Test func theDistanceIsTheFewestSlips() {
    let letters: [Character] = ["a", "b"]
    func words(_ count: Int) -> [[Character]] {
      count == 0 ? [[]] : words(count - 1).flatMap { word in letters.map { word + [$0] } }
    }
    let all = (0...3).flatMap(words)
    func slips(_ word: [Character]) -> Set<[Character]> {
      var found: Set<[Character]> = []
      for place in word.indices {
        found.insert(Array(word[..<place] + word[(place + 1)...]))
        for letter in letters { found.insert(Array(word[..<place] + [letter] + word[(place + 1)...])) }
        guard place + 1 < word.count else { continue }
        var swapped = word
        swapped.swapAt(place, place + 1)
        found.insert(swapped)
      }
      for place in 0...word.count {
        for letter in letters { found.insert(Array(word[..<place] + [letter] + word[place...])) }
      }
      return found
    }
    for word in all {
      var (distance, seen, edge) = (0, Set([word]), Set([word]))
      while distance <= 3 {
        for other in edge where other.count <= 3 {
          #expect(NearWords.distance(word, other) == distance, "\(word) \(other)")
        }
        distance += 1
        edge = Set(edge.flatMap(slips)).subtracting(seen)
        seen.formUnion(edge)
      }
    }
  }
}
