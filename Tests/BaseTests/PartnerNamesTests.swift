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
    #expect(disagreements(["m_1.txt", "m_2.txt"], ["i_0.npy", "i_1.npy", "i_2.npy"]).isEmpty)
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
    #expect(PartnerNames.places(of: ["s2.txt", "s3.txt"], after: ["s0.txt", "s1.txt"], like: partners) == [3, 2])
    #expect(PartnerNames.places(of: partners, after: [], like: partners) == [0, 1, 2, 3])
    #expect(PartnerNames.places(of: ["s4.txt"], after: ["s0.txt", "s1.txt"], like: partners) == nil)
    #expect(PartnerNames.places(of: ["x.txt"], after: [], like: partners) == nil)
    // These count from 1.
    #expect(PartnerNames.places(of: ["m3.txt"], after: ["m1.txt", "m2.txt"], like: partners) == nil)
  }

  @Test func twoNamesAgreeByTheirNumbers() {
    #expect(PartnerNames.agree("img_emb_0007.npy", "metadata_7.parquet"))
    #expect(!PartnerNames.agree("a.npy", "b.npy"))
    #expect(!PartnerNames.agree("img_7.npy", "img_8.npy"))
    #expect(!PartnerNames.agree("part-1-9f.parquet", "part-1-77.parquet"))
  }
}
