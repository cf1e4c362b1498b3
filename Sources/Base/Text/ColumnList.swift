// Names of columns in one text, as people write them: `url,"a, b",meta.caption`.

/// Lists of columns' names.
package enum ColumnList {
  /// Reads names with commas between them.
  ///
  /// A name in double quotes may have commas; a double quote within it is written twice. Within other names a double quote is
  /// one of their characters.
  ///
  /// - Parameter text: The list.
  /// - Returns: The names, in order.
  /// - Throws: ``TarnError`` `.usage` for a name that is empty or there twice, and for quotes that do not end.
  package static func names(in text: String) throws -> [String] {
    let characters = Array(text.unicodeScalars)
    var names: [String] = []
    var place = 0
    while true {
      var name = String.UnicodeScalarView()
      if place < characters.count, characters[place] == "\"" {
        place += 1
        var isOpen = true
        while isOpen {
          guard place < characters.count else { throw fault(text, "does not end a name that is in double quotes") }
          if characters[place] != "\"" {
            name.append(characters[place])
          } else if place + 1 < characters.count, characters[place + 1] == "\"" {
            name.append("\"")
            place += 1
          } else {
            isOpen = false
          }
          place += 1
        }
        guard place == characters.count || characters[place] == "," else {
          throw fault(text, "goes on behind a name that is in double quotes")
        }
      } else {
        while place < characters.count, characters[place] != "," {
          name.append(characters[place])
          place += 1
        }
      }
      names.append(String(name))
      guard place < characters.count else { break }
      place += 1
    }
    guard !names.contains(""), Set(names).count == names.count else {
      throw fault(text, "has a name that is empty or there twice")
    }
    return names
  }

  private static func fault(_ text: String, _ what: String) -> TarnError {
    TarnError(
      .usage, "--columns '\(text.printable)' \(what)",
      hint: "write --columns url,caption; a name with a comma in double quotes, a double quote within it twice")
  }

  /// A name as it is written in a list.
  package static func text(of name: String) -> String {
    let characters = name.unicodeScalars
    guard characters.first == "\"" || characters.contains(",") else { return name }
    var text = String.UnicodeScalarView("\"".unicodeScalars)
    for character in characters {
      if character == "\"" { text.append(character) }
      text.append(character)
    }
    text.append("\"")
    return String(text)
  }
}
