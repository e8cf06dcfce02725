#!/bin/sh
# english.sh - phrases that are never right, in comments, string literals and pages.
#
# Comments and strings of C, comments of scripts and the text of .md files are read,
# also across a line break. `english: allow "PHRASE": reason` on the same line or on the
# one before exempts a finding; an exemption that is not needed is an error as well.
. "$(dirname "$0")/common.sh"

# Whole words, as an extended regular expression in lower case => what to write instead.
# A finding that one of `honest` matches as a whole is right.
phrases='
ways? back => backward, or export
there and back => forward and backward, or export
(held|holds?|holding)( [a-z]+)?( [a-z]+)? against => check against, or compare with
(([a-z]+) )?(is|are|was|were|be) no [a-z]+ => is not a
lies? over => aliases
otherwise than => unlike, or differently from
c(ame|ome|omes) out even => divides evenly
in (its|their|his) turn => each
of what( [a-z]+)? (is|are|was|were) => which X is
as (they|it) comes? => in order
again and again => repeatedly
time and again => repeatedly
whoever => the caller, or name it
nothing but => only
for ever => forever
one [a-z]+ an? [a-z]+ => per
every so [a-z]+ => every n-th
(bytes|(any|no|some)thing|stands?|lies?|comes?|goes|from) behind => after
stands? (twice|thrice) => duplicate
'
honest='
there (is|are|was|were|be) no [a-z]+
(([a-z]+) )?(is|are|was|were|be) no (better|fewer|less|longer|more|other|such)
one (after|as|at|before|by|for|from|in|inside|like|of|on|over|per) .*
one (than|to|with|without) .*
one (and|but|can|gets|had|has|holds|is|may|or|stays|stores|takes|that|was) .*
'
export phrases honest

verdict "$(files '*.c' '*.h' '*.def' '*.sh' '*.md' |
    grep -v '^tests/lint/\(english\|selftest\)[.]sh$' | scan "$(cat "$here/prose.awk")"'
BEGIN {
    n = split(ENVIRON["honest"], row, "\n")
    for (i = 1; i <= n; i++)
        if (row[i] != "") honest = honest (honest == "" ? "" : "|") "^" row[i] "$"
    n = split(ENVIRON["phrases"], row, "\n")
    for (i = 1; i <= n; i++)
        if (split(row[i], side, " => ") == 2) {
            pattern[++n_patterns] = "[^a-z0-9_](" side[1] ")[^a-z0-9_]"
            instead[n_patterns] = side[2]
        }
}
# The text of one file is in `text`; the words of line i begin at start[i].
function line_at(position,    low, high, middle) {
    low = 1
    high = n_lines
    while (low < high) {
        middle = int((low + high + 1) / 2)
        if (start[middle] <= position) low = middle
        else high = middle - 1
    }
    return low
}
function judge(found, line, what,    i) {
    if (found ~ honest) return
    for (i = line - 1; i <= line; i++)
        if (i in allowed && index(found, allowed[i])) {
            used[i] = 1
            return
        }
    print file ":" line ": english: \"" found "\"; use " what
}
function finish(    p, at, rest, found) {
    for (p = 1; file != "" && p <= n_patterns; p++) {
        at = 0
        rest = text
        while (match(rest, pattern[p])) {
            found = substr(rest, RSTART + 1, RLENGTH - 2)
            judge(found, line_at(at + RSTART + 1), instead[p])
            at += RSTART + RLENGTH - 2
            rest = substr(rest, RSTART + RLENGTH - 1)
        }
    }
    for (p in allowed)
        if (!(p in used))
            print file ":" p ": english: the exemption for \"" allowed[p] \
                "\" is not needed"
    split("", allowed)
    split("", used)
}
FNR == 1 {
    finish()
    file = FILENAME
    text = " "
}
{
    words = tolower(prose($0))
    if (match(words, /english: allow "[^"]*": ./)) {
        allowed[FNR] = substr(words, RSTART + 16, RLENGTH - 20)
        words = substr(words, 1, RSTART - 1) "|" substr(words, RSTART + RLENGTH)
    }
    n_lines = FNR
    start[FNR] = length(text) + 1
    text = text words " "
}
END { finish() }')"
