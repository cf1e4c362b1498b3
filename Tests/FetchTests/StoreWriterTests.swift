// Requests to a store, signed as its maker's examples are, and what its answers are worth.

import Base
import Fetch
import Foundation
import Testing

@Suite struct StoreWriterTests {
  // https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
  @Test func signsAsTheExamplesDo() throws {
    let date = Date(timeIntervalSince1970: 1_369_353_600)
    func signature(
      _ method: String, _ path: String, _ query: String, _ fields: [(name: String, value: String)],
      _ body: String = ""
    ) -> String? {
      let lines = RequestSignature(
        method: method, host: "examplebucket.s3.amazonaws.com", path: path, query: query, fields: fields,
        payload: .of(body)
      ).lines(
        accessKey: "AKIAIOSFODNN7EXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", sessionToken: nil,
        region: "us-east-1", at: date)
      return lines.last?.split(separator: "=").last.map(String.init)
    }
    #expect(
      signature("GET", "/test.txt", "", [("range", "bytes=0-9")])
        == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    #expect(
      signature(
        "PUT", "/test%24file.text", "",
        [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
        "Welcome to Amazon S3.") == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
    #expect(
      signature("GET", "/", "lifecycle=", []) == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
    #expect(
      signature("GET", "/", "max-keys=2&prefix=J", [])
        == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
  }

  private func verdict(_ status: Int, _ body: String = "", root: String? = nil) -> StoreAnswer.Verdict {
    StoreAnswer(head: ResponseHead(statusCode: status), body: Array(body.utf8))
      .verdict(root: root, unsigned: nil, at: Date(), cap: .seconds(300))
  }

  private func isLater(_ verdict: StoreAnswer.Verdict) -> Bool { if case .later = verdict { true } else { false } }
  private func isRefused(_ verdict: StoreAnswer.Verdict) -> Bool { if case .refused = verdict { true } else { false } }

  @Test func aSuccessCountsWithTheBodyThatItShouldHaveAlone() {
    let root = "CompleteMultipartUploadResult"
    #expect(verdict(200, "<?xml?>\n<\(root) xmlns=\"x\"><ETag>1</ETag></\(root)>", root: root) == .done)
    #expect(isLater(verdict(200, "<Error><Code>InternalError</Code></Error>", root: root)))
    #expect(isRefused(verdict(200, "<Error><Code>AccessDenied</Code></Error>", root: root)))
    for body in ["", "   ", "<html>fine</html>"] { #expect(isLater(verdict(200, body, root: root)), "'\(body)'") }
    #expect(verdict(200) == .done)
    #expect(verdict(204) == .done)
  }

  /// It may have been a write that was refused: the code does not tell, and so the hint does not.
  @Test func aRefusalIsNotSaidToBeOfReading() {
    guard case .refused(let error) = verdict(403, "<Error><Code>AccessDenied</Code></Error>") else {
      Issue.record("that is a refusal")
      return
    }
    #expect(error.hint == "check what these credentials may do in the bucket")
  }

  @Test func everyOtherAnswerIsWhatItIs() {
    for status in [408, 425, 429, 500, 502, 503, 504, 599] { #expect(isLater(verdict(status)), "\(status)") }
    for status in [301, 302, 307, 400, 401, 403, 405, 411, 413, 600] {
      #expect(isRefused(verdict(status)), "\(status)")
    }
    #expect(verdict(404) == .absent)
    #expect(isRefused(verdict(404, "<Error><Code>NoSuchBucket</Code></Error>")))
    #expect(verdict(412) == .conditionFailed)
    #expect(isRefused(verdict(409, "<Error><Code>BucketAlreadyExists</Code></Error>")))
    #expect(isLater(verdict(409, "<Error><Code>ConditionalRequestConflict</Code></Error>")))
    #expect(verdict(501, "<Error><Code>NotImplemented</Code></Error>") == .unsupported("NotImplemented"))
    #expect(verdict(400, "<Error><Code>NotImplemented</Code></Error>") == .unsupported("NotImplemented"))
    #expect(isLater(verdict(400, "<Error><Code>RequestTimeout</Code></Error>")))
  }
}
