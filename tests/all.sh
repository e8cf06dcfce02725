#!/bin/sh
# all.sh - builds and tests everything, with two compilers and the sanitizers.
#
# The last line is the sum over all runs, "N passed, N failed". A build that fails
# counts as one failed test. Exit 1 when anything failed, or when nothing was tested.
set -u
cd "$(dirname "$0")/.." || exit 1

jobs=2
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# build COMPILER FOLDER PRESET
build() {
    printf '\n== %s, preset %s: build ==\n' "$1" "$3"
    CC=$1 cmake --preset "$3" -B "$2" >"$log" 2>&1 &&
        cmake --build "$2" -j "$jobs" >"$log" 2>&1 && return
    cat "$log"
    failed=$((failed + 1))
    return 1
}

# run COMPILER FOLDER PRESET CTEST_ARGUMENT... - build, test, count.
run() {
    build "$1" "$2" "$3" || return
    printf '\n== %s, preset %s: test ==\n' "$1" "$3"
    folder=$2
    shift 3
    ctest --test-dir "$folder" -j "$jobs" --output-on-failure "$@" >"$log" 2>&1
    status=$?
    cat "$log"
    # "100% tests passed, 0 tests failed out of 12"
    counts=$(sed -n \
        's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\)$/\1 \2/p' "$log")
    bad=${counts% *}
    total=${counts#* }
    if [ -z "$counts" ] || { [ "$status" != 0 ] && [ "$bad" = 0 ]; }; then
        echo "all.sh: ctest in $folder ran no tests, or failed without naming one"
        failed=$((failed + 1))
        return
    fi
    passed=$((passed + total - bad))
    failed=$((failed + bad))
}

if sh tests/install.sh test; then
    run gcc build/dev dev
    run clang build/dev-clang dev -LE 'lint|install'
    run clang build/asan asan -LE 'lint|install'
    run gcc build/asan-gcc asan -LE 'lint|install'
    # That the fuzz targets build with libFuzzer, and take their corpus.
    if ls tests/fuzz/fuzz_*.c >/dev/null 2>&1; then run clang build/fuzz fuzz; fi
    # What is installed and shown is the release build.
    run gcc build release -LE 'lint'
else
    failed=1
fi

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
