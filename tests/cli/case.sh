#!/bin/sh
# case.sh - runs one case of the command line tests (see README.md beside this file).
#
#   BIN=build/dev/bin FIXTURES=fixtures sh tests/cli/case.sh tests/cli/CASE
#
# With UPDATE=1 the output replaces the expectations. Exit 1 when something differs; the
# differences are printed as unified diffs.
set -u

case_folder=$(cd "$1" && pwd) || exit 2
BIN=$(cd "${BIN:?the folder of the programs}" && pwd) || exit 2
FIXTURES=$(cd "${FIXTURES:?the folder of the fixtures}" && pwd) || exit 2
export BIN FIXTURES

# scratch/work is the current directory of the case; results are beside it.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/work"
(cd "$scratch/work" && LC_ALL=C PATH=$BIN:$PATH sh -u "$case_folder/cmd") \
    >"$scratch/stdout" 2>"$scratch/stderr" </dev/null
echo $? >"$scratch/status"

if [ "${UPDATE:-0}" = 1 ]; then
    cp "$scratch/stdout" "$case_folder/stdout.exact"
    rm -f "$case_folder/stderr.exact" "$case_folder/status"
    [ -s "$scratch/stderr" ] && cp "$scratch/stderr" "$case_folder/stderr.exact"
    [ "$(cat "$scratch/status")" = 0 ] || cp "$scratch/status" "$case_folder/status"
    exit 0
fi

verdict=0
# compare EXPECTED NAME - compares it with the output of that name.
compare() {
    diff -u --label "$2 expected" --label "$2 got" "$1" "$scratch/$2" || verdict=1
}
[ -e "$case_folder/status" ] || echo 0 >"$scratch/zero"
compare "$case_folder/stdout.exact" stdout
[ -e "$case_folder/status" ] && compare "$case_folder/status" status ||
    compare "$scratch/zero" status
[ -e "$case_folder/stderr.exact" ] && compare "$case_folder/stderr.exact" stderr
# The program's messages explain most differences: they come first.
[ "$verdict" = 0 ] || [ -e "$case_folder/stderr.exact" ] || cat "$scratch/stderr"
exit "$verdict"
