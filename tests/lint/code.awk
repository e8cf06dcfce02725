# code.awk - code(line): the line without comments and without what quotes hold.
#
# Call it once for every line, in order. Blanked text keeps its width, so that columns
# stay the same. A new file starts outside of comments. Works with any POSIX awk.

function blank(n,    s) {
    while (length(s) < n) s = s " "
    return s
}

# Length of the quoted text at the start of `s`, quotes included.
function quoted_length(s,    quote, i, c) {
    quote = substr(s, 1, 1)
    for (i = 2; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (c == "\\") i++
        else if (c == quote) return i
    }
    return length(s)
}

function code(line,    out, at, n) {
    if (FNR == 1) in_comment = 0
    out = ""
    while (line != "") {
        if (in_comment) {
            at = index(line, "*/")
            if (at == 0) return out blank(length(line))
            out = out blank(at + 1)
            line = substr(line, at + 2)
            in_comment = 0
            continue
        }
        if (!match(line, /["']|\/\*|\/\//)) return out line
        out = out substr(line, 1, RSTART - 1)
        line = substr(line, RSTART)
        if (substr(line, 1, 2) == "//") return out blank(length(line))
        if (substr(line, 1, 2) == "/*") {
            in_comment = 1
            out = out "  "
            line = substr(line, 3)
            continue
        }
        n = quoted_length(line)
        out = out substr(line, 1, 1) blank(n - 2) substr(line, 1, 1)
        line = substr(line, n + 1)
    }
    return out
}
