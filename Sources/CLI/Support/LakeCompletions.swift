// What a shell offers in the place of a name: those that the lake has, which the command line names or the
// directory is in. Nothing is said where there is none, or where it cannot be read.

internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

extension CompletionKind {
  static var sources: CompletionKind { names(of: "SELECT name FROM source") }
  static var trainedIndexes: CompletionKind { names(of: "SELECT name FROM trained_index") }
  static var versions: CompletionKind { names(of: "SELECT name || '@' || number FROM index_version") }
  static var versionNames: CompletionKind { names(of: "SELECT DISTINCT name FROM index_version") }
  static var versionsAndTrainedIndexes: CompletionKind {
    names(of: "SELECT name || '@' || number FROM index_version UNION SELECT name FROM trained_index")
  }

  private static func names(of query: String) -> CompletionKind {
    .custom { words, _, _ in (try? LakeCompletions.names(of: query, words)) ?? [] }
  }
}

enum LakeCompletions {
  /// Most that a shell is handed; names are few, versions may be many.
  private static let count = 1_000

  /// Names of the lake, as the shell takes them.
  ///
  /// - Parameters:
  ///   - query: Gives the names.
  ///   - words: The command line as the shell splits it.
  /// - Returns: What may stand there.
  /// - Throws: ``TarnError`` where there is no lake, or none that can be read.
  static func names(of query: String, _ words: [String]) throws -> [String] {
    var global = GlobalOptions()
    global.lake = lake(words)
    let console = try QueryConsole(layout: LakeLayout(root: global.lakeRoot()), timeLimit: .seconds(1))
    var names: [String] = []
    try console.run(query + " ORDER BY 1 LIMIT \(count)") { _, values in
      // A catalog that others wrote may have anything, and bash expands what it is offered.
      guard case .text(let name)? = values?.first, isSafe(name) else { return }
      names.append(name)
    }
    return names
  }

  /// The argument parser's script for a shell, made to know options of every verb before the verb; that of bash has more.
  ///
  /// - Parameter script: As the argument parser writes it.
  /// - Returns: The script.
  static func script(_ script: String) -> String {
    if script.hasPrefix("#!/bin/bash") { return bashScript(script) }
    if script.hasPrefix("#compdef") {
      let place = "    local -ir current_word_index=\"$((CURRENT - 1))\"\n"
      return script.replacing(place, with: place + zshGlobals)
    }
    // Version 3 takes no -C beside -o, where lines are completed for a script.
    return script.replacing("(__tarn_tokens -tC)", with: #"(string length -- "$(commandline -ct)")"#)
      .replacing("    set -l unparsed_tokens (__tarn_tokens -pc)\n", with: fishGlobals)
  }

  private static let zshGlobals = #"""

        # Options of every verb before the verb: taken off; command_line has them.
        local -i tarn_next=2
        while ((tarn_next < CURRENT)); do
            case "${words[tarn_next]}" in
            --lake) ((tarn_next += 2)) ;;
            --lake=*|--json|-q|--quiet|-v|--verbose) ((tarn_next += 1)) ;;
            *) break ;;
            esac
        done
        if ((tarn_next > CURRENT)); then
            _files -/
            return
        fi
        words=("${words[1]}" "${(@)words[tarn_next,-1]}")
        ((CURRENT -= tarn_next - 2))

    """#

  private static let fishGlobals = #"""
        set -l unparsed_tokens (__tarn_tokens -pc)
        # Options of every verb before the verb are taken off.
        while set -q unparsed_tokens[2]
            switch $unparsed_tokens[2]
                case --lake
                    set -e unparsed_tokens[2]
                    set -q unparsed_tokens[2]; and set -e unparsed_tokens[2]
                case '--lake=*' --json -q --quiet -v --verbose
                    set -e unparsed_tokens[2]
                case '*'
                    break
            end
        end

    """#

  /// The argument parser's script for bash, made to take a name with its number as one word, options of every verb
  /// before the verb, and to leave the shell as it is.
  ///
  /// Bash may split words at `@`, and then hands over and replaces only what begins there. Only directories are
  /// completed as file names: bash would take a verb for a directory of its name, and escape the mark.
  ///
  /// - Parameter script: As the argument parser writes it.
  /// - Returns: The script.
  private static func bashScript(_ script: String) -> String {
    let script = script.replacing(
      "__tarn_add_completions() {\n",
      with: "__tarn_add_completions() {\n    [[ \"${1}\" = -[df] ]] && compopt -o filenames 2>/dev/null\n"
    ).replacing("complete -o filenames -F _tarn tarn", with: "complete -F _tarn_whole_words tarn")
      // What was said before the verb says which lake it is, too.
      .replacing(#""${@}" "${words[@]}""#, with: #""${@}" "${words[@]}" "${whole_globals[@]}""#)
    return script + "\n" + wholeWords
  }

  private static let wholeWords = #"""

    # Puts together what bash has split at @, and answers for the part that bash replaces (its second argument).
    _tarn_whole_words() {
        local whole_rest="${COMP_LINE}" whole_behind whole_part whole_cur="${2}" whole_breaks="${COMP_WORDBREAKS}"
        local -a whole_words=() whole_globals=() whole_starts=()
        local -i whole_index whole_start=0 whole_current=0 whole_joined=0 whole_last=0 whole_next=1
        for whole_index in "${!COMP_WORDS[@]}"; do
            whole_part="${COMP_WORDS[whole_index]}"
            whole_behind="${whole_rest#"${whole_rest%%[![:space:]]*}"}"
            whole_last=$((${#whole_words[@]} - 1))
            if ((whole_index > 1)) && [[ "${whole_behind}" = "${whole_rest}" ]] \
                && [[ "${whole_part}" = @* || "${whole_words[whole_last]}" = *@ ]]; then
                whole_words[whole_last]+="${whole_part}"
                whole_joined=1
            else
                whole_words+=("${whole_part}")
                whole_start=$((${#COMP_LINE} - ${#whole_behind}))
                whole_starts+=("${whole_start}")
                whole_joined=0
            fi
            whole_rest="${whole_behind#"${whole_part}"}"
            if ((whole_index == COMP_CWORD)); then
                whole_current=$((${#whole_words[@]} - 1))
                ((whole_joined)) && whole_cur="${COMP_LINE:whole_start:COMP_POINT - whole_start}"
            fi
        done
        # Options of every verb before the verb: taken off, and handed on to who looks for the lake.
        while ((whole_next < whole_current)); do
            case "${whole_words[whole_next]}" in
            --lake)
                [[ "${whole_words[whole_next + 1]}" = "=" ]] && whole_next+=1
                if ((whole_next + 1 >= whole_current)); then
                    [[ "${whole_cur}" = "=" ]] && whole_cur=""
                    local cur="${whole_cur}"
                    __tarn_add_completions -d
                    return
                fi
                whole_next+=2
                ;;
            --lake=*|--json|-q|--quiet|-v|--verbose) whole_next+=1 ;;
            *) break ;;
            esac
        done
        if ((whole_next > 1)); then
            whole_globals=("${whole_words[@]:1:whole_next - 1}")
            local COMP_LINE="${whole_words[0]} ${COMP_LINE:whole_starts[whole_next]}"
            local -i COMP_POINT=$((COMP_POINT - whole_starts[whole_next] + ${#whole_words[0]} + 1))
            whole_words=("${whole_words[0]}" "${whole_words[@]:whole_next}")
            whole_current=$((whole_current - whole_next + 1))
        fi
        local -a COMP_WORDS=("${whole_words[@]}")
        local -i COMP_CWORD="${whole_current}"
        _tarn "${1}" "${whole_cur}" "${whole_words[whole_current > 0 ? whole_current - 1 : 0]}"
        # Setting the shell's options back may have given bash its breaks anew.
        trap - RETURN
        [[ "${COMP_WORDBREAKS}" = "${whole_breaks}" ]] || COMP_WORDBREAKS="${whole_breaks}"
        ((whole_current == 1)) && [[ "${whole_cur}" = -* ]] \
            && COMPREPLY+=($(compgen -W '--lake --json --quiet --verbose' -- "${whole_cur}"))
        [[ "${whole_cur}" = *"${2}" ]] && COMPREPLY=("${COMPREPLY[@]#"${whole_cur%"${2}"}"}")
    }
    """#

  private static func isSafe(_ name: String) -> Bool {
    LakeName.isValid(name) || (try? VersionName(parsing: name)) != nil
  }

  /// What `--lake` says, which a shell hands on as it was typed.
  private static func lake(_ words: [String]) -> String? {
    var found: String?
    for (place, word) in words.enumerated() {
      if word == "--lake" {
        // Of `--lake=DIR` bash makes three words.
        let rest = words.dropFirst(place + 1).drop { $0 == "=" }
        found = rest.first
      } else if word.hasPrefix("--lake=") {
        found = String(word.dropFirst("--lake=".count))
      }
    }
    guard let found, !found.isEmpty else { return nil }
    return found.hasPrefix("~/") ? NSHomeDirectory() + found.dropFirst() : found.filter { !"'\"\\".contains($0) }
  }
}
