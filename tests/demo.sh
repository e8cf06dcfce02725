#!/bin/sh
# demo.sh - builds the programs (build/bin) and shows the main job on a bundled
# checkpoint: to the native layout, its projections, its digests, its parity with the
# reference stage by stage, and back, byte for byte. Stops at the first failure.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
checkpoint=$root/fixtures/paligemma2-bf16

sh tests/install.sh build
log=$(mktemp)
scratch=$(mktemp -d)
trap 'rm -rf "$log" "$scratch"' EXIT
echo "building build/bin ..."
{
    cmake --preset release
    cmake --build --preset release --target programs
} >"$log" 2>&1 || {
    cat "$log"
    exit 1
}

PATH=$root/build/bin:$PATH
cd "$scratch"
ln -s "$checkpoint/model" hf-model
ln -s "$checkpoint/golden.safetensors" golden.safetensors

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}
run lvlm-convert hf2native hf-model model.lvlm
run lvlm-verify projections model.lvlm
run lvlm-verify checksum model.lvlm
run lvlm-verify replay model.lvlm golden.safetensors --report report.html
run lvlm-convert native2hf model.lvlm back
run lvlm-verify compare hf-model back
run diff -r hf-model back
printf '\nAll of it agrees. The programs are in build/bin.\n'
