// Places where files grow beside their names, and what kills left of them.

import Base
import Foundation
import Glibc
import Testing

@Suite struct WorkingPlaceTests {
  private let directory: String

  init() throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("tarn-test-\(UUID().uuidString)").path
    try Disk.makeDirectory(directory)
  }

  private func make(_ name: String, hoursOld: Int) throws -> String {
    let path = directory + "/" + name
    try Disk.writeAtomically([1], to: path)
    let then = timeval(tv_sec: time(nil) - 3_600 * hoursOld - 60, tv_usec: 0)
    try #require(utimes(path, [then, then]) == 0)
    return path
  }

  private func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: directory).sorted() }

  @Test func whatAKillLeftGoesAndNothingElse() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let target = directory + "/a.npy"
    let held = WorkingPlace(for: target)
    _ = try make(held.path.lastPathPart, hoursOld: 2)
    held.hold()
    for name in [".a.npy-12-1f.tmp", ".a.npy-99999-0.tmp", ".a.npy-12-1f.tmp-journal"] {
      _ = try make(name, hoursOld: 1)
    }
    try Disk.makeDirectory(directory + "/.a.npy-7-7.tmp/deep")
    let then = timeval(tv_sec: time(nil) - 7_200, tv_usec: 0)
    try #require(utimes(directory + "/.a.npy-7-7.tmp", [then, then]) == 0)
    let others = [
      "a.npy", ".a.npy-12.tmp", ".a.npy-12-1f", ".a.npy-x-1f.tmp", ".a.npy-12-xyz.tmp", ".a.npy-12-1f-2.tmp",
      ".b.npy-12-1f.tmp", "a.npy-12-1f.tmp",
    ]
    for name in others { _ = try make(name, hoursOld: 5) }
    _ = try make(".a.npy-13-1f.tmp", hoursOld: 0)
    symlink(directory + "/a.npy", directory + "/.a.npy-14-1f.tmp")
    let second = WorkingPlace(for: target)
    #expect(second.path != held.path && second.path.parentPath == directory)
    #expect(try names() == (others + [held.path.lastPathPart, ".a.npy-13-1f.tmp", ".a.npy-14-1f.tmp"]).sorted())
  }

  @Test func whatIsHeldIsLetGoWithItsPlace() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    do {
      let place = WorkingPlace(for: directory + "/a")
      _ = try make(place.path.lastPathPart, hoursOld: 2)
      place.hold()
      WorkingPlace.sweep(besides: directory + "/a")
      #expect(try names() == [place.path.lastPathPart])
    }
    WorkingPlace.sweep(besides: directory + "/a")
    #expect(try names().isEmpty)
  }

  @Test func namesFitWhateverIsBesideThem() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let place = WorkingPlace(for: directory + "/" + String(repeating: "x", count: 255))
    #expect(place.path.lastPathPart.utf8.count < 255)
    #expect(WorkingPlace(for: "/a").path.hasPrefix("/.a-"))
    #expect(WorkingPlace(for: "a").path.hasPrefix("./.a-"))
  }
}
