#!/bin/sh
# build.sh - configures and builds, and shows its progress. When the build fails, it
# prints the errors from the log, FOLDER/build.log.
#
#   CC=clang sh tests/build.sh PRESET FOLDER TARGET [CMAKE_ARGUMENT...]
set -u
cd "$(dirname "$0")/.." || exit 1
preset=$1 folder=$2 target=$3
shift 3
log=$folder/build.log
built=$folder/built
start=$(date +%s)
mkdir -p "$folder"
rm -f "$built"
: >"$log"

build() {
    cmake --preset "$preset" -B "$folder" "$@" &&
        cmake --build "$folder" --target "$target" -j "$(sh tests/jobs.sh)" &&
        : >"$built"
}

# Logs stdin and prints each tenth that make reaches: "[ 42%] Building C object ...".
show_tenths() {
    shown=0
    while IFS= read -r line; do
        printf '%s\n' "$line"
        case $line in '['*'%]'*) percent=${line%%\%*} ;; *) continue ;; esac
        percent=$((${percent#\[}))
        while [ $((shown + 10)) -le "$percent" ]; do
            shown=$((shown + 10))
            printf ' %d %%' "$shown" >&2
        done
    done >>"$log"
}

printf 'building %s ...' "$folder"
build "$@" 2>&1 | show_tenths 2>&1
printf ' (%d s)\n' $(($(date +%s) - start))
[ -e "$built" ] && exit
grep -E -A 5 'rror: |Error [0-9]|CMake Error' "$log" | head -60
echo "build.sh: failed; all of it is in $log"
exit 1
