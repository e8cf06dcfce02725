# common.sh - read by every lint: where the tree is, which files it has, the verdict.
#
#   sh LINT.sh [ROOT]      ROOT: the tree to look at, this one when left out
#
# A finding is one line on stdout, "file:line: rule"; with any the exit status is 1.
set -u
LC_ALL=C
export LC_ALL
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}" || exit 1

# files PATTERN... - the tree's own files with such names, sorted. Recorded fixtures
# are data, and so is a fuzz corpus.
files() {
    for pattern in "$@"; do
        find . \( -name .git -o -path ./build -o -name __pycache__ -o -name .cache \
            -o -path './fixtures/*/*' -type d -o -path ./tests/fuzz/corpus \) -prune \
            -o -type f -name "$pattern" -print
    done | sed 's|^\./||' | sort
}

# scan PROGRAM - an awk program, which can call code(line), over the files on stdin.
scan() {
    xargs awk "$(cat "$here/code.awk")
$1"
}

# verdict FINDINGS
verdict() {
    [ -z "$1" ] && exit 0
    printf '%s\n' "$1"
    exit 1
}
