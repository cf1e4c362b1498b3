// SHA-256 against the vectors of FIPS 180-4 and against Python's hashlib, by
// every way that the CPU has to compute it.

import Base
import CSha256
import Testing

struct Sha256Tests {
  /// Bytes that a program in any language can make: b(i) = 31 i² + 7 i + ⌊i/32⌋.
  private static let pattern = (0..<5000).map { UInt8(truncatingIfNeeded: $0 * $0 * 31 + $0 * 7 + $0 >> 5) }

  /// The digest by one way, whatever ``Sha256`` would take.
  private func digest(_ bytes: some Collection<UInt8>, path: Int32) -> [UInt8] {
    var stream = csha256_stream()
    csha256_start(&stream)
    var digest = [UInt8](repeating: 0, count: 32)
    Array(bytes).withUnsafeBufferPointer { bytes in
      withUnsafeMutablePointer(to: &stream) { stream in
        digest.withUnsafeMutableBufferPointer { digest in
          var job = csha256_job(
            stream: stream, pieces: (bytes.baseAddress, nil), counts: (bytes.count, 0), digest: digest.baseAddress)
          csha256_run(path, &job, 1)
        }
      }
    }
    return digest
  }

  @Test(arguments: 0...csha256_best_path())
  func givesTheDigestsOfTheStandard(path: Int32) {
    let vectors = [
      ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
      ),
      (
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"
      ),
      (
        String(repeating: "a", count: 1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
      ),
    ]
    for (text, hex) in vectors {
      #expect(ContentDigest(bytes: digest(text.utf8, path: path)).hex == hex)
      #expect(ContentDigest.of(text).hex == hex)
    }
  }

  /// By hashlib: SHA-256 of the digests of the first 0 to 1199 bytes.
  ///
  /// So each place where padding can fall is met.
  @Test(arguments: 0...csha256_best_path())
  func givesHashlibsDigestAtEveryLength(path: Int32) {
    let digests = (0..<1200).flatMap { digest(Self.pattern[..<$0], path: path) }
    #expect(
      ContentDigest(bytes: digest(digests, path: path)).hex
        == "6f829e60bf030b4483fab1fe60acdda59bcf324fa352e0048d264fc32b8e0995")
  }

  /// By hashlib, of 200 strings of SplitMix64(9): of up to 20,000 bytes, each
  /// the top eight bits of a draw.
  @Test(arguments: 0...csha256_best_path())
  func givesHashlibsDigestsOfRandomStrings(path: Int32) {
    var random = SplitMix64(seed: 9)
    let digests = (0..<200).flatMap { _ in
      let count = random.next(below: 20_000)
      return digest((0..<count).map { _ in UInt8(random.next() >> 56) }, path: path)
    }
    #expect(
      ContentDigest(bytes: digest(digests, path: path)).hex
        == "9fbcd60e6ae9f34bf05c875d27c1602295cfac92f71a0e55c346ab1a6ef2bebc")
  }

  @Test func piecesOfOneStringGiveItsDigest() {
    var random = SplitMix64(seed: 3)
    for _ in 0..<200 {
      var hasher = Sha256()
      var done = 0
      while done < Self.pattern.count {
        let count = min(Self.pattern.count - done, random.next(below: 300))
        hasher.update(Self.pattern.span.bytes.extracting(done..<(done + count)))
        done += count
        #expect(hasher.digestSoFar() == ContentDigest.of(Self.pattern[..<done]))
      }
      #expect(hasher.finalize().hex == "44cdcd18fda02fc83d2d72f72354fa380da27f33b87e326b78aa6cf86877de2c")
    }
  }

  @Test(arguments: 0...csha256_best_path())
  func stringsHashedTogetherGetTheirOwnDigests(path: Int32) {
    var numbers = SplitMix64(seed: 5)
    let bytes = (0..<3000).map { _ in UInt8(numbers.next(below: 256)) }
    for round in 0..<300 {
      let count = 1 + numbers.next(below: 7)
      let strings = (0..<count).map { _ in
        let start = numbers.next(below: 1000)
        return start..<(start + numbers.next(below: round % 2 == 0 ? 140 : 2000))
      }
      var streams = [csha256_stream](repeating: csha256_stream(), count: count)
      var digests = [UInt8](repeating: 0, count: 32 * count)
      streams.withUnsafeMutableBufferPointer { streams in
        digests.withUnsafeMutableBufferPointer { digests in
          bytes.withUnsafeBufferPointer { bytes in
            for i in 0..<count { csha256_start(&streams[i]) }
            // Half of each string in one run, the rest in another, each in two pieces.
            let middles = strings.map { $0.lowerBound + $0.count / 2 }
            for isLast in [false, true] {
              let jobs = (0..<count).map { i in
                let half = isLast ? middles[i]..<strings[i].upperBound : strings[i].lowerBound..<middles[i]
                let cut = numbers.next(below: half.count + 1)
                return csha256_job(
                  stream: streams.baseAddress.map { $0 + i },
                  pieces: (
                    bytes.baseAddress.map { $0 + half.lowerBound }, bytes.baseAddress.map { $0 + half.lowerBound + cut }
                  ),
                  counts: (cut, half.count - cut),
                  digest: isLast ? digests.baseAddress.map { $0 + 32 * i } : nil)
              }
              csha256_run(path, jobs, count)
            }
          }
        }
      }
      for i in 0..<count {
        #expect(Array(digests[32 * i..<32 * (i + 1)]) == ContentDigest.of(bytes[strings[i]]).bytes)
      }
    }
  }
}
