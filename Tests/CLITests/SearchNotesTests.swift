// What is said of an answer besides its rows.

import Lake
import Testing

@Suite struct SearchNotesTests {
  private func lines(
    _ counts: [Int], nprobe: Int = 8, unique: Double? = nil, admitted: Int? = nil,
    _ change: (inout SearchNotes) -> Void = { _ in }
  ) -> [String] {
    var notes = SearchNotes(
      k: 5, nprobe: nprobe, listCount: 64, unique: unique, admittedCount: admitted, conditionNotes: [])
    change(&notes)
    return notes.lines(counts, for: .terminal)
  }

  @Test func nothingIsSaidWhereNothingIsLacking() {
    #expect(lines([5, 5]).isEmpty)
    #expect(lines([3, 5]).isEmpty)
    #expect(lines([2, 2], admitted: 2).isEmpty)
    #expect(lines([2, 2], unique: 0.9, admitted: 2).isEmpty)
    #expect(lines([5, 5]) { ($0.namesRows, $0.fillsUp) = (true, true) }.isEmpty)
  }

  /// Where no row meets a condition, nothing that can be raised finds any.
  @Test func aConditionThatHoldsOfNoRowIsAllThatIsSaid() {
    for unique in [nil, 0.9] {
      #expect(lines([0, 0], unique: unique, admitted: 0) == ["the condition holds of no row that is searched"])
    }
  }

  @Test func fewerRowsAreSaidOnceWithWhatFindsMore() {
    let few = lines([2, 5], admitted: 34)
    #expect(few.count == 1)
    #expect(few[0].hasPrefix("the condition holds of 34 rows, of which fewer than 5 are in the 8 lists visited for"))
    #expect(few[0].contains("raise --nprobe"))
    let apart = lines([2, 5], unique: 0.9)
    #expect(apart.count == 1 && apart[0].contains("fewer than 5 rows apart"))
    #expect(apart[0].hasSuffix("raise --nprobe or --unique"))
    let named = lines([0, 5]) { $0.namesRows = true }
    #expect(named.count == 1 && named[0].hasPrefix("for 1 of 2 queries none of these rows is in the 8 lists"))
    let filled = lines([0, 5]) { $0.fillsUp = true }
    #expect(filled.count == 1 && filled[0].contains("-1 is in their place; raise --nprobe"))
    #expect(lines([0, 5]) { ($0.namesRows, $0.fillsUp) = (true, true) }.count == 1)
    #expect(lines([2], unique: 1).last?.hasSuffix("raise --nprobe") == true)
    #expect(lines([2], nprobe: 64, unique: 1).last?.hasSuffix("candidates") == true)
    // More lists than there are cannot be visited.
    for said in [
      lines([2, 5], nprobe: 64, admitted: 34), lines([2], nprobe: 99, unique: 0.9),
      lines([0], nprobe: 64) { $0.namesRows = true }, lines([1], nprobe: 64) { $0.fillsUp = true },
    ] {
      #expect(said.count == 1 && !said[0].contains("--nprobe"), "\(said)")
    }
  }

  @Test func everyReaderIsToldWhatItCanRaise() {
    let notes = SearchNotes(k: 5, nprobe: 8, listCount: 64, unique: 0.9, admittedCount: nil, conditionNotes: ["one"])
    #expect(notes.lines([1], for: .terminal).last?.hasSuffix("raise --nprobe or --unique") == true)
    #expect(notes.lines([1], for: .program).last?.hasSuffix("raise nprobe or unique") == true)
    #expect(notes.lines([1], for: .page).last?.hasSuffix("raise Lists or Near-duplicates from") == true)
    #expect(notes.lines([1], for: .page).first == "one")
  }
}
