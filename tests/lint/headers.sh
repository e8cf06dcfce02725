#!/bin/sh
# headers.sh - every header compiles alone, with the strict flags; those of code that is
# compiled per precision in both.
. "$(dirname "$0")/common.sh"

: "${CC:=gcc}"
: "${WARNINGS:=-Wall -Wextra -pedantic -Wshadow -Wconversion}"
packages=$(pkg-config --cflags libcjson openblas cmocka 2>/dev/null)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# compile HEADER FLAG... - prints one finding when it does not compile.
compile() {
    header=$1
    shift
    # Flags are lists of words.
    # shellcheck disable=SC2086
    printf '#include "%s"\nextern int a_declaration;\n' "$header" |
        $CC -std=c11 -D_GNU_SOURCE $WARNINGS -Werror $packages -I. "$@" -fsyntax-only \
            -x c - 2>"$log" && return
    awk -v header="$header" '
    / error: / {
        line = index($0, header ":") == 1 ? substr($0, length(header) + 2) + 0 : 1
        sub(/.* error: /, "")
        print header ":" line ": headers: " $0
        found = 1
        exit
    }
    END { if (!found) print header ":1: headers: does not compile alone" }' "$log"
}

verdict "$(for header in $(files '*.h'); do
    case $header in
    runtime/real.h | runtime/per_precision.h | runtime/ops/* | runtime/vision/* | \
        runtime/connector/* | runtime/text/* | runtime/model/* | tests/runtime/*/*)
        compile "$header" -DLVLM_REAL_BITS=32
        compile "$header" -DLVLM_REAL_BITS=64
        ;;
    *) compile "$header" ;;
    esac
done)"
