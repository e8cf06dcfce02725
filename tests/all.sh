#!/bin/sh
# all.sh - builds and tests everything, with two compilers and the sanitizers.
#
# The last line is the sum over all stages, "N passed, N failed, N skipped". A build
# that fails counts as one failed test, a stage that this machine cannot run as one
# skipped test. Exit 1 when anything failed, or when nothing was tested.
set -u
cd "$(dirname "$0")/.." || exit 1

# One stage per line: minutes on two idle cores, compiler, folder, preset, arguments for
# ctest. Everything is tested once by each compiler, and once with the sanitizers; where
# a stage would only repeat that, it has the tests in which its build can differ. The
# release build is the one to install and show, so it is the last native one.
stages="
2 gcc   build/dev       dev
2 clang build/dev-clang dev     -L unit|replay|grad
3 clang build/asan      asan    -LE lint|install|planted
3 gcc   build/asan-gcc  asan    -L unit|fault
1 clang build/fuzz      fuzz
1 gcc   build/unprepared unprepared -L unit|install
2 gcc   build           release -LE lint|planted
8 aarch64-linux-gnu-gcc build/arm64 arm64 -LE lint|install|fault|planted
"

jobs=$(sh tests/jobs.sh)
n_stages=$(echo "$stages" | grep -c .)
stage=0 passed=0 failed=0 skipped=0
junit=$(mktemp)
trap 'rm -f "$junit"' EXIT

# lacks PRESET - prints what this machine lacks for it; nothing when it can be run.
lacks() {
    [ "$1" = arm64 ] || return
    for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
        command -v $tool >/dev/null || printf ' %s' $tool
    done
    for package in libcjson openblas libpng cmocka; do
        [ -e "/usr/lib/aarch64-linux-gnu/pkgconfig/$package.pc" ] ||
            printf ' %s:arm64' $package
    done
}

# Adds up the results in ctest's report. A test that could not start counts as failed.
count() {
    total=$(grep -c '<testcase ' "$junit")
    good=$(grep -c '<testcase .* status="run"' "$junit")
    without=$(grep -c '<skipped message="SKIP_RETURN_CODE=' "$junit")
    bad=$((total - good - without))
    if [ "$total" = 0 ] || { [ "$1" != 0 ] && [ "$bad" = 0 ]; }; then
        echo "all.sh: ctest ran no tests, or failed without naming one"
        bad=$((bad + 1))
    fi
    sed -n '/<skipped message="SKIP_/,/<system-out>/s/.*<system-out>//p' "$junit" |
        sed 's/<\/system-out>//; s/^/skipped: /'
    echo "$good passed, $bad failed, $without skipped"
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + without))
}

# run COMPILER FOLDER PRESET CTEST_ARGUMENT... - build, test, count.
run() {
    CC=$1 sh tests/build.sh "$3" "$2" all -DLVLM_WERROR=ON || {
        failed=$((failed + 1))
        return
    }
    folder=$2
    shift 3
    : >"$junit"
    ctest --test-dir "$folder" -j "$jobs" --output-on-failure \
        --output-junit "$junit" "$@"
    count $?
}

sh tests/install.sh test || {
    printf '\n0 passed, 1 failed, 0 skipped\n'
    exit 1
}
while read -r minutes compiler folder preset arguments <&3; do
    stage=$((stage + 1))
    about=$(((minutes * 2 + jobs - 1) / jobs))
    printf '\n== stage %d of %d: preset %s, %s' $stage "$n_stages" "$preset" "$compiler"
    missing=$(lacks "$preset")
    if [ -n "$missing" ]; then
        printf ' ==\nskipped: there is no%s here\n' "$missing"
        skipped=$((skipped + 1))
        continue
    fi
    printf ', about %d min ==\n' "$about"
    start=$(date +%s)
    # shellcheck disable=SC2086
    run "$compiler" "$folder" "$preset" $arguments
    seconds=$(($(date +%s) - start))
    printf 'stage %d took %d min %d s\n' $stage $((seconds / 60)) $((seconds % 60))
done 3<<END
$(echo "$stages" | grep .)
END

printf '\n%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ "$failed" = 0 ] && [ "$passed" != 0 ]
