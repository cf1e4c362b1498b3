// What a server may have besides versions: who makes vectors of words and pictures.
// It is not needed; without one that is said.

internal import Base
internal import Foundation
package import Lake

/// What is to become a vector.
package enum EncoderInput: Sendable, Equatable {
  case text(String)
  /// The bytes of an image file.
  case image([UInt8])
}

/// The providers of a server.
package struct ServeProviders: Sendable {
  package var encoder: (any FeatureEncoder)?
  /// Whether vectors of the encoder are given unit length; else they must have it.
  package var normalises: Bool

  package init(encoder: (any FeatureEncoder)? = nil, normalises: Bool = false) {
    self.encoder = encoder
    self.normalises = normalises
  }
}

/// Makes vectors of what people ask.
struct ServeEncoder: Sendable {
  private let encoder: any FeatureEncoder
  private let normalises: Bool
  /// Ends the wait for it.
  let cancellation = Cancellation()

  init?(_ providers: ServeProviders) {
    guard let encoder = providers.encoder else { return nil }
    self.encoder = encoder
    normalises = providers.normalises
    WorkingPlace.sweep(besides: Self.pictures)
  }

  private static var pictures: String { FileManager.default.temporaryDirectory.path + "/tarn-picture" }

  /// Makes a vector; blocks.
  ///
  /// - Parameters:
  ///   - input: Of what.
  ///   - dimension: Components that it must have.
  /// - Returns: The vector.
  /// - Throws: ``TarnError`` of the encoder.
  func vector(of input: EncoderInput, dimension: Int) throws -> [Float] {
    switch input {
    case .text(let text):
      guard text.utf8.count <= EncoderQuery.mostTextByteCount else {
        throw TarnError(.usage, "a text has at most \(EncoderQuery.mostTextByteCount) bytes")
      }
      return try encoded(.text(text), dimension)
    case .image(let bytes):
      // Encoders open pictures by their path; nothing of it is the asker's.
      let place = WorkingPlace(for: Self.pictures, sweeps: false)
      defer { try? FileManager.default.removeItem(atPath: place.path) }
      guard
        FileManager.default.createFile(
          atPath: place.path, contents: Data(bytes), attributes: [.posixPermissions: 0o600])
      else { throw TarnError(.io, "cannot write a picture for the encoder to \(place.path)") }
      place.hold()
      return try encoded(.image(path: place.path), dimension)
    }
  }

  private func encoded(_ query: EncoderQuery, _ dimension: Int) throws -> [Float] {
    let results = try encoder.encode([query], cancellation: cancellation)
    guard let result = results.first else { throw TarnError(.engine, "the encoder gave no answer") }
    return try EncodedVector.checked(result.get(), dimension: dimension, normalises: normalises)
  }
}
