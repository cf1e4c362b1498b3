// The XML of stores: read whole and strictly, or not at all.

import Base
import Fetch
import Testing

@Suite struct StoreDocumentTests {
  private func read(_ text: String) throws(StoreDocument.Fault) -> StoreDocument.Element {
    try StoreDocument(Array(text.utf8)).root
  }

  private let whole =
    "\u{FEFF} \n<?xml version=\"1.0\"?><!-- a --><R xmlns='u&amp;v' b = \"2\"><K>x&amp;lt;</K><Ks>no</Ks><E/><E n=\"1\"></E>"
    + "<T>&#x20;a&#233;&quot;&apos;&gt;<![CDATA[<&]]></T></R>\n<!-- b -->\n"

  @Test func aDocumentIsRead() throws {
    let root = try read(whole)
    #expect(root.name == "R" && root.children.map(\.name) == ["K", "Ks", "E", "E", "T"])
    #expect(try root.text(of: "K") == "x&lt;" && root.text(of: "T") == " aé\"'><&" && root.text(of: "None") == nil)
    #expect(throws: StoreDocument.Fault.self) { try root.text(of: "E") }
  }

  /// Wherever a document is cut it is none, and is known to have been cut.
  @Test func noBeginningIsADocument() throws {
    let bytes = Array("<?xml version=\"1.0\"?>".utf8) + Array("<R a='1'><K>x&amp;&#233;y</K><E/><!-- c --></R>".utf8)
    for count in 0..<bytes.count {
      let fault = #expect(throws: StoreDocument.Fault.self, "\(count)") { try StoreDocument(Array(bytes[..<count])) }
      #expect(fault?.isCut == true, "\(count): \(fault?.message ?? "")")
    }
    _ = try StoreDocument(bytes)
  }

  @Test(arguments: [
    "<!DOCTYPE R><R/>", "<!DOCTYPE R [<!ENTITY b 'x'>]><R>&b;</R>", "<R>&b;</R>", "<R>&nbsp;</R>", "<R>& </R>         ",
    "<R>&#0;</R>", "<R>&#xD800;</R>", "<R>&#x110000;</R>", "<R>&#;</R>", "<R>&#+65;</R>", "<R>&#xFFFF;</R>",
    "<R><A></B></R>", "<R></R></R>", "<R/><R/>", "<R/>x", "x<R/>", "<R a=1/>", "<R a='1' a='2'/>", "<Ra='1'/>",
    "<R a='<'/>", "< R/>", "<R><?x y?></R>", "<R>\u{1}</R>", "<1/>", "<R><!ELEMENT a></R>",
  ])
  func whatIsNoneIsRefused(text: String) throws {
    let fault = #expect(throws: StoreDocument.Fault.self) { try read(text) }
    #expect(fault?.isCut == false, "\(fault?.message ?? "")")
  }

  @Test func depthAndNumberAreBounded() throws {
    func nested(_ depth: Int) -> String {
      String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth)
    }
    _ = try read(nested(16))
    #expect(throws: StoreDocument.Fault.self) { try read(nested(17)) }
    #expect(throws: StoreDocument.Fault.self) { try read(nested(100_000)) }
    #expect(throws: StoreDocument.Fault.self) { try read("<a>" + String(repeating: "<b/>", count: 500_000) + "</a>") }
    #expect(throws: StoreDocument.Fault.self) { try StoreDocument([0x3C, 0x61, 0xFF, 0x2F, 0x3E]) }
  }

  /// What was cut out of a listing, or means something else to an XML parser, is never fewer or
  /// other files.
  @Test func aListingIsWholeOrNone() throws {
    let text =
      "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>img/a&#x20;b.npy</Key><Size>1</Size></Contents>"
      + "<Contents><Key>img/&amp;c.npy</Key><Size>2</Size></Contents></ListBucketResult>"
    let files = try ListingPage(store: Array(text.utf8), of: "s3://b/img/").files
    #expect(files.map(\.path) == ["img/a b.npy", "img/&c.npy"])
    for count in 0..<text.utf8.count {
      #expect(throws: (any Error).self, "\(count)") {
        try ListingPage(store: Array(text.utf8.prefix(count)), of: "s3://b/img/")
      }
    }
    for wrong in [
      text.replacing("&amp;c", with: "&c"), "<!DOCTYPE ListBucketResult>" + text, text.replacing("false", with: "no"),
      text.replacing("</IsTruncated>", with: "</IsTruncated><IsTruncated>true</IsTruncated>"),
      text.replacing("ListBucketResult", with: "ListVersionsResult"),
    ] {
      #expect(throws: (any Error).self, "\(wrong)") { try ListingPage(store: Array(wrong.utf8), of: "s3://b/img/") }
    }
  }
}
