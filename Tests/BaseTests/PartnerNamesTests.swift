// What the names of files say about which belong together.

import Base
import Testing

@Suite struct PartnerNamesTests {
  private func disagreements(_ names: [String], _ partners: [String]) -> [Int] {
    PartnerNames.disagreements(of: names, with: partners).map(\.place)
  }

  @Test func namesThatCameInAnotherOrderDisagree() {
    let partners = ["s0.npy", "s1.npy", "s3.npy", "s2.npy"]
    #expect(disagreements(["s0.npy", "s1.npy", "s2.npy", "s3.npy"], partners) == [2, 3])
    // As many as there are so far.
    #expect(disagreements(["s0.jsonl", "s1.jsonl", "s2.jsonl"], partners) == [2])
    #expect(disagreements(["cat.npy", "dog.npy"], ["dog.npy", "cat.npy"]) == [0, 1])
    #expect(disagreements(["m_0.txt", "m_1.txt", "m_2.txt"], ["i_0.npy", "i_2.npy"]) == [1, 2])
  }

  @Test func itSaysWhere() {
    let found = PartnerNames.disagreements(of: ["m0.txt", "m1.txt", "m2.txt"], with: ["i0.npy", "i2.npy"])
    #expect(
      found.map(\.reason) == [
        "beside which m2.txt belongs by its name", "and belongs beside i2.npy by its name",
      ])
  }

  @Test func namesThatTellNothingAgree() {
    #expect(disagreements(["img_emb_0000.npy", "img_emb_0001.npy"], ["text_emb_0.npy", "text_emb_1.npy"]).isEmpty)
    // One counts from 1.
    #expect(disagreements((1...12).map { "a\($0).npy" }, (0..<12).map { "b\($0).npy" }).isEmpty)
    #expect(disagreements(numbered("m", 1...5), numbered("i", 0...3)).isEmpty)
    #expect(disagreements(numbered("m", 0...2), numbered("i", 1...4)).isEmpty)
    // One counts rows.
    #expect(disagreements((0..<20).map { "a\($0).npy" }, (0..<20).map { "b\(10 * $0).npy" }).isEmpty)
    #expect(disagreements(["one.npy"], ["two.npy"]).isEmpty)
    #expect(disagreements(["a.npy", "b.npy"], ["c.npy", "d.npy"]).isEmpty)
    // What writers of parquet add is of no other file.
    #expect(
      disagreements(
        ["part-00000-9f1c-c000.parquet", "part-00001-9f1c-c000.parquet"],
        ["part-00000-77ab-c000.parquet", "part-00001-77ab-c000.parquet"]
      ).isEmpty)
    // Two with one number.
    #expect(disagreements(["a1.npy", "a01.npy", "a2.npy"], ["b2.npy", "b1.npy", "b3.npy"]).isEmpty)
    #expect(disagreements(["a", "aa"], ["aa", "aaa"]).isEmpty)
    #expect(disagreements([], ["a1", "a2"]).isEmpty)
  }

  @Test func numbersAreWhole() {
    // All begin with the same digit, which belongs to the number.
    #expect(
      disagreements(["a10.npy", "a11.npy", "a12.npy"], ["b10.npy", "b12.npy", "b11.npy"]) == [1, 2])
    #expect(disagreements(["a09.npy", "a10.npy"], ["b9.npy", "b10.npy"]).isEmpty)
    #expect(disagreements(["1a.npy", "2a.npy"], ["2a.npy", "1a.npy"]) == [0, 1])
  }

  @Test func newNamesGoToTheirPartners() {
    let partners = ["s0.npy", "s1.npy", "s3.npy", "s2.npy"]
    #expect(
      PartnerNames.places(of: ["s2.txt", "s3.txt"], after: ["s0.txt", "s1.txt"], like: partners) == [3, 2] as [Int?])
    #expect(PartnerNames.places(of: partners, after: [], like: partners) == [0, 1, 2, 3] as [Int?])
    #expect(PartnerNames.places(of: ["s4.txt"], after: ["s0.txt", "s1.txt"], like: partners) == [nil] as [Int?])
    #expect(PartnerNames.places(of: ["x.txt"], after: [], like: partners) == nil)
    // These count from 1: the third is beside s2.
    #expect(PartnerNames.places(of: ["m3.txt"], after: ["m1.txt", "m2.txt"], like: partners) == [3] as [Int?])
  }

  private func numbered(_ prefix: String, _ numbers: ClosedRange<Int>) -> [String] {
    numbers.map { "\(prefix)_\($0).x" }
  }

  /// All of these are names of partners, so nothing speaks for another number to count from.
  @Test func onePartnerThatLacksIsNoOtherCount() {
    #expect(disagreements(numbered("cap", 1...3), numbered("img", 0...3)) == [0, 1, 2])
    #expect(disagreements(["m_1.txt", "m_2.txt"], ["i_0.npy", "i_1.npy", "i_2.npy"]) == [0, 1])
    #expect(disagreements(numbered("cap", 0...3), numbered("img", 1...3)) == [0, 1, 2, 3])
  }

  /// A companion was held against its owner when it was registered; the owner has more since.
  @Test func whatCountsFromOneKeepsItsCount() {
    func strays(_ names: [String], _ partners: [String]) -> [Int] {
      PartnerNames.disagreements(of: names, with: partners, registered: true).map(\.place)
    }
    let (images, known) = (numbered("img", 0...4), numbered("m", 1...3))
    #expect(strays(known, images).isEmpty)
    #expect(strays(known + ["m_5.x"], images) == [3])
    #expect(strays(known + ["m_5.x", "m_4.x"], images) == [3, 4])
    #expect(PartnerNames.places(of: ["m_5.x", "m_4.x"], after: known, like: images) == [4, 3] as [Int?])
    // Listed in any order, where as many are there.
    #expect(
      PartnerNames.places(of: ["m_2.x", "m_1.x", "m_3.x"], after: [], like: numbered("img", 0...2))
        == [1, 0, 2] as [Int?])
    #expect(strays(["m_0.x", "m_1.x", "m_2.x"], ["i_0.x", "i_2.x", "i_3.x"]) == [1, 2])
  }

  @Test func numbersThatMeetByChanceTellNothing() {
    #expect(disagreements(numbered("cap", 0...3), ["img_0.x", "img_2.x", "img_4.x", "img_6.x"]).isEmpty)
    #expect(disagreements(numbered("cap", 0...2), ["img_0.x", "img_2.x", "img_4.x"]).isEmpty)
    // These lack some.
    #expect(disagreements(["cap_0.x", "cap_2.x", "cap_4.x"], numbered("img", 0...4)) == [1, 2])
  }

  @Test func lettersTellAsNumbersDo() {
    let images = ["aa", "ab", "ac", "ad"].map { "part1_\($0).npy" }
    let found = disagreements(["aa", "ab", "ad", "az"].map { "part1_\($0).csv" }, images)
    #expect(found == [2, 3])
  }

  @Test func aNameOfNobodyTakesNothingFromTheOthers() {
    let (known, images) = (numbered("m", 0...1), numbered("img", 0...1))
    #expect(PartnerNames.places(of: ["m_3.x", "m_7.x"], after: known, like: images) == [nil, nil] as [Int?])
    #expect(
      PartnerNames.places(of: ["m_3.x", "readme.x", "m_2.x"], after: known, like: numbered("img", 0...3))
        == [3, nil, 2] as [Int?])
  }

  @Test func whatFollowsAnother() {
    #expect(PartnerNames.follow(numbered("cap", 0...1), numbered("img", 0...3)))
    #expect(PartnerNames.follow(numbered("cap", 1...3), numbered("img", 0...4)))
    #expect(!PartnerNames.follow(["cap_0.x", "cap_3.x"], numbered("img", 0...3)))
    #expect(!PartnerNames.follow(["cap_0.x"], numbered("img", 0...3)))
    #expect(!PartnerNames.follow(["a.x", "b.x"], ["c.x", "d.x"]))
  }

  /// Names come from anybody: one with a number that nothing can be added to tells what letters tell.
  @Test func aNumberOfAnySizeIsReckonedWithOrIsNone() {
    let partners = ["q-1", "q-2", "q-3"]
    for number in ["9223372036854775807", "2305843009213693952", "2305843009213693951", "99999999999999999999"] {
      let own = ["p-0", "p-1", "p-\(number)"]
      #expect(disagreements(own, partners).isEmpty)
      #expect(disagreements(partners, own).isEmpty)
      let names = PartnerNames.names(beside: [2], of: own, placed: 2, like: partners)
      #expect(names == (number == "2305843009213693951" ? [2: "p-2"] : [:]))
      let places = PartnerNames.places(of: [own[2]], after: Array(own.prefix(2)), like: partners)
      #expect(places?.contains(2) != true)
    }
  }

  /// Whoever counts from 0 where the other counts from 1 has no file before the first.
  @Test func noNameHasANumberBelowZero() {
    let partners = ["img_1.x", "img_2.x", "img_3.x", "img_0.x", "img_4.x"]
    let names = PartnerNames.names(beside: [3, 4], of: numbered("cap", 0...2), placed: 3, like: partners)
    #expect(names == [4: "cap_3.x"])
  }
}
