#!/bin/sh
# style.sh - rules that a formatter does not check: lengths, names, file comments, white
# space.
#
# A function of over 50 lines needs `/* long: reason */` before it, and ends at 120.
. "$(dirname "$0")/common.sh"

MAX_COLUMNS=88
MAX_FILE=500
MAX_FUNCTION=50
MAX_LONG_FUNCTION=120
# Readers of one format each, which are clearest from top to bottom.
LONG_FILES='formats/container/pickle.c formats/container/zip.c'
export MAX_COLUMNS MAX_FILE MAX_FUNCTION MAX_LONG_FUNCTION LONG_FILES

text=$(files '*.c' '*.h' '*.def' '*.sh' '*.awk' '*.md' '*.txt' '*.json' '*.in' '*.py' |
    scan '
function say(line, rule) { print FILENAME ":" line ": style: " rule }
/\t/ { say(FNR, "a tab") }
/[ \t\r]$/ { say(FNR, "a blank at the end of the line") }
')

sources=$(files '*.c' '*.h' '*.def' '*.sh' '*.awk' | scan '
function say(line, rule) { print FILENAME ":" line ": style: " rule }
# In characters: continuation bytes of UTF-8 have no column.
function columns(line) {
    gsub(/[\200-\277]/, "", line)
    return length(line)
}
FNR == 1 {
    free_form = 0
    is_c = FILENAME ~ /\.[ch]$/
    name = FILENAME
    sub(/.*\//, "", name)
    comment = is_c || name ~ /\.def$/ ? "/* " name " - " : "# " name " - "
    has_comment = 0
    body = 0
    long = 0
}
FNR <= 2 && index($0, comment) == 1 { has_comment = 1 }
FNR == 2 && !has_comment {
    say(1, "the file does not begin with \"" comment "what it is\"")
}
FNR == ENVIRON["MAX_FILE"] + 1 && !index(ENVIRON["LONG_FILES"], FILENAME) {
    say(FNR, "over " ENVIRON["MAX_FILE"] " lines")
}
/clang-format off/ { free_form = 1 }
/clang-format on/ { free_form = 0 }
!free_form && columns($0) > ENVIRON["MAX_COLUMNS"] {
    say(FNR, columns($0) " columns, at most " ENVIRON["MAX_COLUMNS"])
}
!is_c { next }
/^\/\* long: / { long = FNR }
{ plain = code($0) }
plain ~ /^\{/ { body = FNR }
plain ~ /^\}/ && body {
    lines = FNR - body - 1
    most = long ? ENVIRON["MAX_LONG_FUNCTION"] : ENVIRON["MAX_FUNCTION"]
    if (lines > most) say(body, "a function of " lines " lines, at most " most)
    if (long && lines <= ENVIRON["MAX_FUNCTION"])
        say(long, "the mark \"long\" is not needed, the function has " lines " lines")
    body = 0
    long = 0
}')

# The two family/ folders may have files of the same name.
names=$(files '*.c' '*.h' '*.sh' '*.awk' | grep -v '/family/[^/]*$' | awk -F/ '
$NF in first { print $0 ":1: style: the name is taken by " first[$NF] }
!($NF in first) { first[$NF] = $0 }')

verdict "$(printf '%s\n%s\n%s' "$text" "$sources" "$names" | grep .)"
