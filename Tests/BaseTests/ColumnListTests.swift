// Lists of columns' names: every name can be written, and what is written is read.

import Base
import Testing

@Suite struct ColumnListTests {
  @Test func namesAreReadAsTheyAreWritten() throws {
    #expect(try ColumnList.names(in: "url,meta.caption, a") == ["url", "meta.caption", " a"])
    #expect(try ColumnList.names(in: "\"c,d\",e") == ["c,d", "e"])
    #expect(try ColumnList.names(in: "\"say \"\"so\"\"\",a\"b") == ["say \"so\"", "a\"b"])
    #expect(try ColumnList.names(in: "\"meta.c,d\"") == ["meta.c,d"])
  }

  @Test(arguments: ["", "a,", ",a", "a,,b", "a,a", "a,\"a\"", "\"\"", "\"a", "\"a\"b", "\"a\" ,b", "\"a\"\""])
  func whatIsNoListIsRefused(text: String) {
    #expect { try ColumnList.names(in: text) } throws: { ($0 as? TarnError)?.code == .usage }
  }

  @Test func everyNameCanBeWritten() throws {
    let letters = ["a", ",", "\"", " ", ".", "\u{301}"]
    var names = letters
    for _ in 0..<3 { names += names.flatMap { name in letters.map { name + $0 } } }
    for (place, name) in Set(names).enumerated() {
      let other = "other \(place)"
      let text = ColumnList.text(of: name) + "," + other
      #expect(try ColumnList.names(in: text).map { Array($0.utf8) } == [Array(name.utf8), Array(other.utf8)])
    }
  }
}
