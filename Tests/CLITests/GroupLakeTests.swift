// A lake that several users of a group write, one after the other.

import Catalog
import Foundation
import Glibc
import Testing
import TestSupport

@Suite struct GroupLakeTests {
  private static let group: gid_t = 4_711

  /// Runs tarn with a umask; as another user where one is named.
  private func run(
    _ arguments: [String], umask: String, as user: uid_t? = nil, on lake: String
  ) throws -> ProcessResult {
    let shell = ["/bin/sh", "-c", "umask \(umask); exec \"$0\" \"$@\""]
    let becoming = user.map {
      ["/usr/bin/setpriv", "--reuid=\($0)", "--regid=\(Self.group)", "--clear-groups"]
    }
    let tool = user == nil ? ProcessRunner.tarn : OrdinaryUser.tool
    let words = (becoming ?? []) + shell + [tool] + arguments
    let environment = ProcessRunner.environment.merging(["TARN_LAKE": lake, "HOME": "/", "TARN_THREADS": "1"]) { $1 }
    return try RunningProcess(words[0], Array(words.dropFirst()), environment: environment).finish()
  }

  private func mode(_ path: String) -> mode_t {
    var info = stat()
    return stat(path, &info) == 0 ? info.st_mode & 0o666 : 0
  }

  /// SQLite gives the catalogs that it makes to nobody but their owner.
  @Test(arguments: [("002", 0o664), ("022", 0o644), ("077", 0o600)] as [(String, mode_t)])
  func aCatalogIsForWhomOtherFilesAreFor(umask: String, expected: mode_t) throws {
    let lake = try LakeFixture.nothing()
    let made = try run(["init", lake.lake], umask: umask, on: lake.lake)
    #expect(made.ending == .exit(0), "\(made.errorText)")
    for name in ["catalog.sqlite", "tarn.lock"] {
      #expect(mode("\(lake.lake)/\(name)") == expected, "\(name)")
    }
    let copy = lake.directory.path + "/copy.sqlite"
    let copied = try run(["backup", copy], umask: umask, on: lake.lake)
    #expect(copied.ending == .exit(0) && mode(copy) == expected, "\(copied.errorText)")
  }

  @Test func soIsOneThatIsMadeAgain() throws {
    let lake = try LakeFixture.make(.built)
    for suffix in ["", "-wal", "-shm"] { unlink(lake.lake + "/catalog.sqlite" + suffix) }
    let rebuilt = try run(["rebuild-catalog", "--quiet"], umask: "002", on: lake.lake)
    #expect(rebuilt.ending == .exit(0), "\(rebuilt.errorText)")
    #expect(mode(lake.lake + "/catalog.sqlite") == 0o664)
  }

  @Test(.enabled(if: geteuid() == 0 && OrdinaryUser.isThere)) func twoUsersWriteOneLake() throws {
    let directory = try LakeDirectory()
    let place = directory.path + "/group"
    try #require(mkdir(place, 0o2775) == 0 && chown(place, 0, Self.group) == 0 && chmod(place, 0o2775) == 0)
    let lake = place + "/lake"
    let captions = try LakeFixture.sources().directory.path + "/captions"
    let add = [
      "source", "add", "captions", "--directory", captions, "--dimension", "\(FeatureSources.dimension)", "--dtype",
      "float32", "--modality", "text",
    ]
    let (first, second): (uid_t, uid_t) = (4_001, 4_002)
    let steps: [(uid_t, [String])] = [
      (first, ["init", lake]), (second, add), (first, ["sync", "--quiet"]), (second, ["evict", "captions"]),
      (first, ["verify"]), (second, ["sync", "--quiet"]), (first, ["evict", "captions"]),
    ]
    for (user, arguments) in steps {
      let result = try run(arguments, umask: "002", as: user, on: lake)
      #expect(result.ending == .exit(0), "\(arguments): \(result.errorText)")
    }
    let findings = try LakeExamination(LakeCatalog.open(root: lake, writing: nil)).findings()
    #expect(findings.contains { $0.check == "permissions" && $0.level == .ok }, "\(findings)")
    // As one that an older tarn made.
    try #require(chmod(lake + "/catalog.sqlite", 0o644) == 0)
    for arguments in [["sync", "--quiet"], ["verify", "--quiet"], ["limit", "1MB/s"]] {
      let refused = try run(arguments, umask: "002", as: second, on: lake)
      #expect(refused.ending == .exit(1) && refused.errorLines.count == 1, "\(refused.errorText)")
      let hint = "; \(lake)/catalog.sqlite must be writable by this user"
      #expect(refused.errorText.contains(hint), "\(refused.errorText)")
    }
    let closed = try LakeExamination(LakeCatalog.open(root: lake, writing: nil)).findings().filter {
      $0.check == "permissions"
    }
    #expect(closed.map(\.level) == [.warning])
    #expect(closed.first?.fix?.contains("chmod g+w \(lake)/catalog.sqlite`") == true, "\(closed)")
  }
}
