# common.sh - sourced by every lint: the tree, its files, the verdict.
#
#   sh LINT.sh [ROOT]      ROOT: the tree to check, default: this one
#
# A finding is one line on stdout, "file:line: rule"; with any the exit status is 1.
set -u
LC_ALL=C
export LC_ALL
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}" || exit 1

# files PATTERN... - the tree's files with such names, sorted, without the data in
# fixtures, where a folder cli has the sources of a program, and in the fuzz corpus.
files() {
    for pattern in "$@"; do
        find . \( -name .git -o -path ./build -o -name __pycache__ -o -name .cache \
            -o -path './fixtures/*/*' -type d ! -path './fixtures/*/cli' \
            -o -path ./tests/fuzz/corpus \) -prune \
            -o -type f -name "$pattern" -print
    done | sed 's|^\./||' | sort
}

# scan PROGRAM - run an awk program, which can call code(line), over the files on stdin.
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
