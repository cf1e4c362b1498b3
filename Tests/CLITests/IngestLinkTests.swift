// Files of results: what the lake has of those with another name is its own, what no disk has
// keeps no other out, and what comes late goes.

import Base
import Foundation
import Lake
import Testing
import TestSupport

@Suite(.tags(.slow)) struct IngestLinkTests {
  @Test func aResultWithAnotherNameIsCopied() throws {
    let planned = try PlannedLake.make()
    let elsewhere = planned.lake.directory.path + "/elsewhere.faiss"
    try FileManager.default.linkItem(atPath: planned.resultPath(0), toPath: elsewhere)
    #expect(try planned.ingest().ending == .exit(0))
    // What the lake has is its own.
    try Data("gone".utf8).write(to: URL(fileURLWithPath: elsewhere))
    let verify = try planned.lake.run(["verify", "--quiet"])
    #expect(verify.ending == .exit(0), "\(verify.outputText)")
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }

  /// Any number of workers may be at one task, and one may put its result there when the version is sealed.
  @Test func whatASlowerWorkerLeavesGoesToo() throws {
    let planned = try PlannedLake.make()
    let path = try planned.resultPath(0)
    let copy = planned.lake.directory.path + "/copy"
    try FileManager.default.copyItem(atPath: path, toPath: copy)
    #expect(try planned.ingest().ending == .exit(0))
    try FileManager.default.moveItem(atPath: copy, toPath: path)
    try Data([0]).write(to: URL(fileURLWithPath: planned.tasks.results + "/0001.host.7.abc.part"))
    try Data([0]).write(to: URL(fileURLWithPath: planned.tasks.results + "/notes.txt"))
    #expect(try planned.ingest().ending == .exit(0))
    #expect(try FileManager.default.contentsOfDirectory(atPath: planned.tasks.results) == ["notes.txt"])
  }

  /// A file of nothing, which would be copied.
  private func writeHole(of byteCount: Int, _ path: String, _ lake: LakeFixture) throws {
    try Data().write(to: URL(fileURLWithPath: path))
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try file.truncate(atOffset: UInt64(byteCount))
    try file.close()
    // What has a second name is not taken as it is.
    try FileManager.default.linkItem(atPath: path, toPath: lake.directory.path + "/second")
  }

  /// Rows found of a size that the disk may have are refused before they are copied.
  @Test func rowsFoundThatAreMoreThanWereAskedForAreNotCopied() throws {
    let lake = try LakeFixture.make(.synced)
    let tasks = TaskDirectory(lake.directory.path + "/training")
    try lake.succeed([
      "plan", "train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "1",
      "--tasks", tasks.path, "--quiet",
    ])
    try lake.succeed(["worker", tasks.path, "--task", "0", "--scratch", lake.directory.path, "--quiet"])
    let name = try #require(try tasks.receiptNames()[0]?.first)
    let (digest, size) = (ContentDigest.of("holes"), 1 << 24)
    try writeHole(of: size, tasks.resultPath(0, digest, of: .train), lake)
    let value = try JSONValue(reading: try Disk.contents(of: "\(tasks.receipts)/\(name)"))
    guard case .object(var receipt) = value, case .object(var result)? = receipt["result"] else {
      Issue.record("a receipt has a result")
      return
    }
    result["sha256"] = .string(digest.hex)
    result["bytes"] = .count(size)
    receipt["result"] = .object(result)
    let bytes = Array(JSONValue.object(receipt).text.utf8)
    try FileManager.default.removeItem(atPath: "\(tasks.receipts)/\(name)")
    try Disk.writeAtomically(bytes, to: tasks.receiptPath(0, .of(bytes)))
    let refused = try lake.run(["ingest", tasks.path, "--json"])
    #expect(refused.ending == .exit(20), "\(refused.errorText)")
    #expect(refused.outputText.contains("what the task asks for comes to"), "\(refused.outputText)")
  }

  /// Of more bytes than any disk has, of which none is there: it is refused, and is nothing that others wait for.
  @Test func aResultThatIsLargerThanItsRowsCanBe() throws {
    let planned = try PlannedLake.make()
    let (digest, size) = (ContentDigest.of("holes"), 1 << 42)
    try writeHole(of: size, planned.tasks.resultPath(0, digest), planned.lake)
    try planned.rewrite(0) { receipt in
      guard case .object(var result)? = receipt["result"] else { return }
      result["sha256"] = .string(digest.hex)
      result["bytes"] = .count(size)
      receipt["result"] = .object(result)
    }
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(20), "\(errors)")
    let reason = answer["refused"]?.elements.first?["reason"]?.string ?? ""
    #expect(reason.contains("its rows come to"), "\(answer.text)")
    #expect(answer["recorded"]?.elements == [.integer(1)], "\(answer.text)")
    // The task runs again, and all is well.
    try planned.work(0)
    #expect(try planned.ingest().ending == .exit(0))
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }
}
