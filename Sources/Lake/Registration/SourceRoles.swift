// What a source is for in a training or a build, held against what it was
// registered as: before any work, and before a name is taken.

internal import Base
internal import Catalog

extension Source {
  /// Refuses a source whose features are not what an option asks for.
  ///
  /// - Parameters:
  ///   - wanted: What they have to be: image or text, all others pass; and so does what is registered as `other`.
  ///   - option: The option that names the source.
  /// - Throws: ``TarnError`` `.usage`.
  func require(_ wanted: Modality, as option: String) throws {
    try requireFeatures()
    if wanted == .image || wanted == .text, modality != wanted, modality != .other {
      throw TarnError(
        .usage, "\(option) is for \(wanted.rawValue) features, and those of \(name) are \(modality.rawValue)",
        hint: "name another source, or correct it with `tarn source set \(name) --modality \(wanted.rawValue)`; where "
          + "a version states it, register the shards under another name")
    }
  }

  /// Refuses sources that cannot be the images and the captions of one training.
  ///
  /// Without captions nothing is paired, and lists of passages of text or of anything else are as good as those of images.
  ///
  /// - Parameters:
  ///   - images: What `--images` names.
  ///   - captions: What `--captions` names; nil without.
  /// - Throws: ``TarnError`` `.usage`.
  static func requireRoles(images: Source, captions: Source?) throws {
    guard let captions else { return try images.requireFeatures() }
    guard captions.id != images.id else {
      throw TarnError(
        .usage, "--images and --captions both name \(images.name)",
        hint: "row i of the one is an image, row i of the other its caption")
    }
    guard (images.modality, captions.modality) != (.text, .image) else {
      throw TarnError(
        .usage, "--images names \(images.name), which is text, and --captions \(captions.name), which is images",
        hint: "swap them: --images \(captions.name) --captions \(images.name)")
    }
    try images.require(.image, as: "--images")
    try captions.require(.text, as: "--captions")
  }
}
