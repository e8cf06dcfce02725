# prose.awk - prose(line): what a reader reads in a line, with code replaced by " | ".
#
# To be called once for every line, in order. Kept are comments and string literals of
# C, comments of scripts, and the text of .md files outside of fenced code. Blanks are
# squeezed; an empty line is a break, so that a phrase is found within a paragraph only.
# Needs code.awk.

function squeezed(s) {
    gsub(/[ \t]+/, " ", s)
    sub(/^ /, "", s)
    sub(/ $/, "", s)
    return s == "" ? "|" : s
}

# The complement of code(line): what it blanked.
function prose_of_c(line,    kept, inside, out, i, c) {
    inside = FNR > 1 && in_comment
    kept = code(line)
    for (i = 1; i <= length(line); i++) {
        c = substr(kept, i, 1)
        if (c == " ") out = out substr(line, i, 1)
        else if (c == "\"") out = out " "
        else out = out " | "
    }
    if (inside) sub(/^[ \t]*\*/, "", out)
    if (out ~ /^[ \t]*(\/\*|\*\/)?[ \t]*$/) return "|"
    gsub(/\/\*|\*\/|\/\//, " ", out)
    gsub(/\\n/, " | ", out)
    return squeezed(out)
}

function prose(line) {
    if (FILENAME ~ /\.(c|h|def)$/) return prose_of_c(line)
    if (FILENAME ~ /\.sh$/) {
        if (!match(line, /(^|[ \t])#([ \t]|$)/)) return "|"
        return squeezed(substr(line, RSTART + RLENGTH))
    }
    if (FNR == 1) fenced = 0
    if (line ~ /^[ \t]*```/) {
        fenced = !fenced
        return "|"
    }
    return fenced ? "|" : squeezed(line)
}
