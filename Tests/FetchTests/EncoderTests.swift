// Encoders that are programs: tame ones and hostile ones, as real children.

import Base
import Fetch
import Foundation
import Glibc
import Synchronization
import Testing
import TestSupport

@Suite struct EncoderTests {
  private static let echo = #"while read -r line; do printf '{"embedding":[1,0]}\n'; done"#

  private func encoder(_ script: String, _ change: (inout EncoderRules) -> Void = { _ in }) throws -> CommandEncoder {
    var rules = EncoderRules()
    rules.timeout = .seconds(30)
    rules.firstPause = .milliseconds(1)
    change(&rules)
    return try CommandEncoder(
      "sh -c '\(script.replacing("'", with: #"'\''"#))'", rules: rules, environment: ProcessRunner.environment)
  }

  /// The one answer of a program to one text.
  private func ask(_ encoder: CommandEncoder, _ text: String = "x") throws -> Result<[Float], TarnError> {
    try #require(try encoder.encode([.text(text)], cancellation: Cancellation()).first)
  }

  private func message(_ script: String, _ change: (inout EncoderRules) -> Void = { _ in }) throws -> String {
    let encoder = try encoder(script, change)
    defer { encoder.close(atOnce: false) }
    switch try ask(encoder) {
    case .success(let vector): return "\(vector)"
    case .failure(let error): return error.message
    }
  }

  @Test func oneProgramAnswersManyThreadsInOrder() throws {
    // Each answer is the number in its own question.
    let encoder = try encoder(
      #"while read -r line; do n=${line##*:\"}; printf '{"embedding":[%s]}\n' "${n%%\"*}"; done"#)
    let pieces = (0..<6).map { thread in
      ThreadedWork("asks") {
        let texts = (0..<40).map { EncoderQuery.text("\(thread * 1_000 + $0)") }
        return try encoder.encode(texts, cancellation: Cancellation()).map { try $0.get() }
      }
    }
    for (thread, piece) in pieces.enumerated() {
      #expect(try piece.wait() == (0..<40).map { [Float(thread * 1_000 + $0)] })
    }
    encoder.close(atOnce: false)
    #expect(throws: TarnError.self) { try ask(encoder).get() }
  }

  @Test func hangsDiesAndGarbles() throws {
    #expect(try message(Self.echo) == "[1.0, 0.0]")
    #expect(try message("sleep 600") { $0.timeout = .milliseconds(200) }.contains("no answer within"))
    #expect(
      try message("echo deep trouble >&2; exit 7")
        == "the encoder ended with exit status 7 before it answered, saying 'deep trouble'")
    #expect(try message("read -r line; kill -11 $$").contains("ended by signal 11"))
    #expect(try message("echo loading; cat").contains("wrote 'loading', which is no answer"))
    #expect(
      try message("head -c 300000 /dev/zero; sleep 600") { $0.mostLineByteCount = 100_000 }.contains(
        "a line of more than"))
    #expect(try message("exec <&-; sleep 600").contains("closed its streams"))
    #expect(try message("exec >&-; sleep 600").contains("closed its streams"))
    #expect(
      try message(#"read -r l; printf '{"embedding":[1],"id":9}\n'; sleep 600"#).contains("not the query's whose turn"))
    #expect(try message(#"read -r l; printf '{"embedding":[NaN]}\n'; cat >/dev/null"#).contains("not finite"))
    #expect(try message(#"head -c 1000000 /dev/zero >&2; printf 'end\n' >&2; exit 1"#).hasSuffix("end'"))
  }

  @Test func onlyOneLineIsSaidOfWhatWasSaid() throws {
    let text = try message(#"printf 'first\n\033[31mred\n  \n' >&2; exit 1"#)
    #expect(text.hasSuffix("saying '?[31mred'") && !text.contains("first"))
  }

  @Test func aProgramThatEndsIsStartedAgain() throws {
    let scratch = try TemporaryDirectory()
    // Dies on its first start after it was asked, and answers on the second.
    let encoder = try encoder(
      "read -r l; if mkdir \(scratch.path)/was; then exit 1; fi; " + #"printf '{"embedding":[5]}\n'"#)
    #expect(try ask(encoder).get() == [5])
    // That one ended after its answer, which is nobody's fault.
    for _ in 0..<5 { #expect(try ask(encoder).get() == [5]) }
    encoder.close(atOnce: false)
    withExtendedLifetime(scratch) {}
  }

  @Test func closingEndsWhatIgnoresEverythingAndItsChildren() throws {
    let scratch = try TemporaryDirectory()
    let encoder = try encoder(
      "trap '' TERM INT HUP; sleep 600 & echo $! > \(scratch.path)/child; echo $$ > \(scratch.path)/self; read -r l; "
        + #"printf '{"embedding":[1]}\n'; while :; do sleep 600; done"#
    ) {
      $0.patienceWithEnd = .milliseconds(50)
      $0.patienceWithSignal = .milliseconds(50)
    }
    #expect(try ask(encoder).get() == [1])
    encoder.close(atOnce: false)
    for name in ["child", "self"] {
      let text = try String(contentsOfFile: "\(scratch.path)/\(name)", encoding: .utf8)
      let number = try #require(Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)))
      #expect(isGone(number), "\(name) lives")
    }
  }

  /// Whether a process is gone, or waits to be taken off the list by who has it now.
  private func isGone(_ number: Int32) -> Bool {
    for _ in 0..<500 {
      let status = (try? String(contentsOfFile: "/proc/\(number)/stat", encoding: .utf8)) ?? ""
      if status.isEmpty || status.contains(") Z ") { return true }
      usleep(10_000)
    }
    return false
  }

  @Test func aProgramEndsWithItsEncoder() throws {
    let scratch = try TemporaryDirectory()
    var encoder: CommandEncoder? = try encoder("echo $$ > \(scratch.path)/self; " + Self.echo)
    _ = try encoder.map { try ask($0) }
    encoder = nil
    let text = try String(contentsOfFile: "\(scratch.path)/self", encoding: .utf8)
    #expect(isGone(try #require(Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)))))
  }

  @Test func aCallerThatIsCancelledDoesNotWait() throws {
    let encoder = try encoder("sleep 600")
    let cancellation = Cancellation()
    let work = ThreadedWork("asks") { try encoder.encode([.text("x")], cancellation: cancellation) }
    cancellation.cancel()
    let error = #expect(throws: TarnError.self) { try work.wait() }
    #expect(error?.code == .interrupted)
    encoder.close(atOnce: true)
  }

  @Test func longTextsGoThroughWhileAnswersAreRead() throws {
    // More than a pipe holds, both ways, by a program that writes before it has read all.
    let encoder = try encoder(Self.echo)
    let texts = (0..<64).map { EncoderQuery.text(String(repeating: "\($0 % 10)", count: 60_000)) }
    #expect(try encoder.encode(texts, cancellation: Cancellation()).allSatisfy { (try? $0.get()) == [1, 0] })
    encoder.close(atOnce: false)
  }

  @Test func namesOfEncodersAreReadWithCare() throws {
    func make(_ name: String, _ model: String? = nil, _ environment: [String: String] = [:]) throws
      -> any FeatureEncoder
    {
      try EncoderName.encoder(
        name, model: model, rules: EncoderRules(), configuration: FetchConfiguration(), environment: environment)
    }
    for name in ["", "  ", "''", "a 'b", "a\\"] {
      let error = #expect(throws: TarnError.self) { try make(name) }
      #expect(error?.code == .usage, "\(name)")
    }
    #expect(throws: TarnError.self) { try make("sh", "model") }
    let missing = try make("/no/such/program x")
    let error = #expect(throws: TarnError.self) {
      try missing.encode([.text("x")], cancellation: Cancellation())[0].get()
    }
    #expect(error?.code == .usage && error?.message.contains("no program '/no/such/program'") == true)
    let environment = ProcessRunner.environment.merging([EncoderName.keyVariable: "sesame"]) { $1 }
    let telling = try make(
      #"sh -c 'read -r l; printf "{\"error\":\"%s\"}\n" "key ${TARN_ENCODER_KEY-none}"'"#, nil, environment)
    let said = #expect(throws: TarnError.self) {
      try telling.encode([.text("x")], cancellation: Cancellation())[0].get()
    }
    #expect(said?.message == "the encoder says: key none")
  }

  @Test func vectorsAreCheckedBeforeTheyAreUsed() throws {
    func check(_ vector: [Float], _ normalises: Bool) throws -> [Float] {
      try EncodedVector.checked(vector, dimension: 2, normalises: normalises)
    }
    #expect(try check([0.6, 0.8], false) == [0.6, 0.8])
    #expect(try check([0, 1.009], false) == [0, 1.009])
    #expect(try check([3, 4], true) == [0.6, 0.8])
    #expect(try check([0x1.8p101, 0x1p102], true) == [0.6, 0.8])
    for (vector, normalises) in [
      ([1], false), ([0, 0], true), ([.nan, 1], true), ([.infinity, 1], true), ([3, 4], false), ([0, 1.02], false),
      ([], true),
    ] as [([Float], Bool)] {
      #expect(throws: TarnError.self) { try check(vector, normalises) }
    }
  }

  @Test(arguments: [
    ("python3 encode.py", ["python3", "encode.py"]), (" a  b\t", ["a", "b"]), ("a 'b c' d", ["a", "b c", "d"]),
    (#"a "b \"c\" \\ \d" "#, ["a", #"b "c" \ \d"#]), (#"a\ b '' """#, ["a b", "", ""]), ("a'b'\"c\"d", ["abcd"]),
    ("$HOME *.txt | x; >y", ["$HOME", "*.txt", "|", "x;", ">y"]), ("", []),
  ])
  func commandsAreSplitWithoutAShell(text: String, words: [String]) throws {
    #expect(try QuotedWords.split(text) == words)
    // As a word is written for a shell it is read again.
    for word in words + ["it's", "", "a$b `c`"] { #expect(try QuotedWords.split(QuotedWords.quoted(word)) == [word]) }
  }
}
