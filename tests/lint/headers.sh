#!/bin/sh
# headers.sh - every header compiles by itself, with the strict flags. Headers of code
# that is compiled per precision are compiled in both; those of libraries also as C++,
# with C linkage.
. "$(dirname "$0")/common.sh"

packages=$(pkg-config --cflags libcjson openblas cmocka 2>/dev/null)
c="${CC:-gcc} -x c -std=c11 ${WARNINGS:--Wall -Wextra -pedantic -Wshadow -Wconversion}"
cpp="${CXX:-g++} -x c++ -std=c++17 -Wall -Wextra -pedantic" # 17: hexadecimal constants
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# compile COMPILER HEADER FLAG... - print a finding if it does not compile.
compile() {
    compiler=$1
    header=$2
    shift 2
    # Flags are lists of words.
    # shellcheck disable=SC2086
    printf '#include "%s"\nextern int a_declaration;\n' "$header" |
        $compiler -D_GNU_SOURCE -Werror $packages -I. "$@" -fsyntax-only - \
            2>"$log" && return
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

# keeps_names HEADER - is it between the two macros of linkage.h?
keeps_names() {
    grep -q '^LVLM_BEGIN_DECLS$' "$1" && grep -q '^LVLM_END_DECLS$' "$1" ||
        echo "$1:1: headers: is not between LVLM_BEGIN_DECLS and LVLM_END_DECLS"
}

verdict "$(for header in $(files '*.h'); do
    case $header in
    runtime/real.h | runtime/ops/* | runtime/block/* | runtime/vision/* | \
        runtime/connector/* | runtime/text/* | runtime/model/* | tests/runtime/*/*)
        compile "$c" "$header" -DLVLM_REAL_BITS=32
        compile "$c" "$header" -DLVLM_REAL_BITS=64
        ;;
    tests/*) compile "$c" "$header" '-DLVLM_FIXTURES=""' ;;
    */cli/* | runtime/kernel/* | formats/base/linkage.h) compile "$c" "$header" ;;
    *)
        compile "$c" "$header"
        compile "$cpp" "$header"
        keeps_names "$header"
        ;;
    esac
done)"
