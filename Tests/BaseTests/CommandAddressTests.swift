// Commands as addresses: words without a shell, places that become whole arguments,
// inputs that are declared.

import Base
import Testing

@Suite struct CommandAddressTests {
  private func arguments(_ text: String, output: String = "/o") throws -> [String] {
    try CommandAddress("command:" + text).arguments(writing: output)
  }

  @Test(arguments: [
    ("a b  c {output}", ["a", "b", "c", "/o"]), ("a 'b c' {output}", ["a", "b c", "/o"]),
    ("a \"b 'c\" {output}", ["a", "b 'c", "/o"]), ("a b\\ c '' {output}", ["a", "b c", "", "/o"]),
    ("a \"\\\"\\\\\\n\" {output}", ["a", "\"\\\\n", "/o"]), ("a --out={output}x", ["a", "--out=/ox"]),
    ("a $HOME `id` ; | > * {output}", ["a", "$HOME", "`id`", ";", "|", ">", "*", "/o"]),
    ("awk {print} {output}", ["awk", "{print}", "/o"]),
  ]) func wordsAreSplitByBlanksAndNoShell(text: String, expected: [String]) throws {
    #expect(try arguments(text) == expected)
  }

  @Test(arguments: ["/a b", "/a'b\"c", "/a;rm -rf $HOME`id`", "/{output}{input}", "/a\\"])
  func aPathIsOneArgumentWhateverItIs(path: String) throws {
    #expect(try arguments("embed {output} last", output: path) == ["embed", path, "last"])
  }

  @Test func inputsAreDeclaredBehindTheWords() throws {
    let address = try CommandAddress("command:e {input} {input:2} {output} {input=/a b.txt} {input=/c}")
    #expect(address.inputs == ["/a b.txt", "/c"])
    #expect(try address.arguments(writing: "/o") == ["e", "/a b.txt", "/c", "/o"])
    #expect(address.shown == "e {input} {input:2} {output}")
  }

  @Test(arguments: [
    "", " ", "{output}", "e", "e {output", "e '{output}", "e {output}\\", "e {input} {output}",
    "e {input:2} {output} {input=/a}",
    "e {input:x} {output} {input=/a}", "e {output} {input=relative}", "e {output} {ordinal}", "e {output} {ordinal:4}",
    "e {output} {env:HOME}", "sh -c 'x > {output}'", "/bin/bash -lc \"x {output}\"",
    "dash -c '{input}' {output} {input=/a}",
    "e {output} \u{1B}[2J", "e {output}\n", "e {output} \u{202E}",
  ]) func whatIsNoCommandIsRefused(text: String) {
    #expect(throws: TarnError.self) { try CommandAddress("command:" + text) }
  }

  @Test func aShellGetsPathsAsArguments() throws {
    let words = try arguments("sh -c 'embed > \"$1\"' sh {output}", output: "/a b")
    #expect(words == ["sh", "-c", "embed > \"$1\"", "sh", "/a b"])
  }

  @Test func inputsOfTheCommandLineBecomePartOfTheAddress() throws {
    let template = try CommandAddress.template(
      "command:e {input} {output}", reading: ["names_{ordinal:04}.txt", "/m", "file:///x"], below: "/here")
    #expect(
      template == "command:e {input} {output} {input=/here/names_{ordinal:04}.txt} {input=/m} {input=/x}")
    #expect(throws: TarnError.self) {
      try CommandAddress.template("command:e {output}", reading: ["https://host/a"], below: "/")
    }
    #expect(throws: TarnError.self) { try CommandAddress.template("https://host/a", reading: ["a"], below: "/") }
  }

  /// Braces of a path would end the input that is declared, and begin another.
  @Test(arguments: ["/a} {input=/etc/passwd.txt", "a{b}.txt", "/a}", "/{", "/{ordinal:4}", "file:///x} {input=/y"])
  func anInputHasNoBracesButTheOrdinals(input: String) {
    let error = #expect(throws: TarnError.self) {
      try CommandAddress.template("command:e {input} {output}", reading: [input], below: "/here")
    }
    #expect(error?.code == .usage && error?.message.contains("has braces") == true, "\(error?.message ?? "")")
  }

  /// It has no query to hide anything in, and no user before a host.
  @Test func anAddressOfACommandIsShownWhole() {
    let text = "command:e --at=user@host?token=1#2 {output}"
    #expect(AddressText(text).redacted() == text)
    #expect(AddressText(text).doubtful().isEmpty)
  }
}
