#!/bin/sh
# readme.sh - runs the examples of README.md in one scratch folder, and compares what
# they print with what the page shows.
#
#   BIN=build/bin sh tests/install/readme.sh
#
# An example is an indented line "$ COMMAND" with its continuations; the indented lines
# that follow are its output, "..." for any number of lines. Without any, only the exit
# status is checked. Measured figures are not compared. Links must lead to headings and
# files that exist.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
page=$root/README.md
BIN=$(cd "${BIN:?the folder of the programs}" && pwd) || exit 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
sh "$root/tests/demo_files.sh" "$scratch/work"
mkdir "$scratch/examples"

# NUMBER.command and NUMBER.shown of every example.
awk -v to="$scratch/examples/" '
function put(kind) {
    print substr($0, kind == "command" && !more ? 7 : 5) >(to sprintf("%03d.", n) kind)
}
!/^    / { n_block = 0; more = 0; next }
/^    \$ / { n++; n_block++ }
/^    \$ / || more { put("command"); more = /\\$/; next }
n_block { put("shown") }
' "$page"

# Times, rates, digests, results of floating point; and how wide a column is.
mask() {
    sed -E 's/[0-9a-f]{16,}(\.\.\.)?/#/g
        s/[0-9.]+ (s|ms|min|[kMG]?B\/s)\>/# \1/g
        s/[0-9.]+e[-+][0-9]+/#/g
        s/[0-9]+\.[0-9]{4,}/#/g
        s/(farthest is) [a-z0-9_.]+/\1 #/
        s/the farthest is [a-z0-9._]+/the farthest is #/
        s/ +/ /g' "$1"
}

# agree SHOWN OUTPUT - compares the output with what the page shows.
agree() {
    awk '
    NR == FNR { shown[++n] = $0; next }
    { got[++m] = $0 }
    END {
        j = 1
        for (i = 1; i <= n; i++) {
            if (shown[i] ~ /^ ?\.\.\.$/) { skip = 1; continue }
            while (skip && j < m && got[j] != shown[i]) j++
            if (got[j] != shown[i]) { print "no such line: " shown[i]; exit 1 }
            skip = 0
            j++
        }
        if (!skip && j <= m) { print "one line more: " got[j]; exit 1 }
    }' "$1" "$2"
}

cd "$scratch/work" || exit 2
PATH=$BIN:$PATH
verdict=0
examples=0
for command in "$scratch"/examples/*.command; do
    example=${command%.command}
    examples=$((examples + 1))
    sh "$command" >"$example.out" 2>"$example.err" </dev/null
    status=$?
    if [ "$status" = 0 ] && [ -e "$example.shown" ]; then
        mask "$example.shown" >"$example.expected"
        mask "$example.out" >"$example.got"
        agree "$example.expected" "$example.got" && continue
    elif [ "$status" = 0 ]; then
        continue
    fi
    printf 'README.md: exit status %d of\n' "$status"
    cat "$command" "$example.out" "$example.err"
    verdict=1
done

# Every "](TARGET)" of the page; a heading's name is its words in lower case, joined.
links=$(sed 's/](/\n](/g' "$page" | sed -n 's/^](\([^)]*\)).*/\1/p')
headings=$(sed -n 's/^#* //p' "$page" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9\n-')
for link in $links; do
    case $link in
    '#'*) printf '%s\n' "$headings" | grep -qx "${link#\#}" && continue ;;
    *) [ -e "$root/$link" ] && continue ;;
    esac
    echo "README.md: a link to $link, which is not there"
    verdict=1
done
echo "$examples examples, $(echo "$links" | wc -l) links"
[ "$examples" -gt 5 ] && exit "$verdict"
