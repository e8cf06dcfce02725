#!/bin/sh
# limits.sh - too little address space, too few threads: each program succeeds, or
# prints one line (and notes) and exits with status 3; none hangs.
#
#   BIN=build/dev/bin FIXTURES=fixtures sh tests/fault/limits.sh [STEP]
#
# Limits on address space grow by STEP MB (default 150). Not with sanitizers, whose
# shadow memory is larger than any of them.
set -u
BIN=$(cd "${BIN:?the folder of the programs}" && pwd) || exit 2
FIXTURES=$(cd "${FIXTURES:?the folder of the fixtures}" && pwd) || exit 2
step=${1:-150}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 2
PATH=$BIN:$PATH
verdict=0

# run NAME COMMAND... - under the limits that the caller has set.
run() {
    name=$1
    shift
    rm -rf out*
    timeout 60 "$@" >stdout 2>stderr
    status=$?
    case $status in
    0) return ;;
    3)
        [ "$(grep -vc ': note: ' stderr)" = 1 ] && [ -z "$(ls -A | grep '^\.')" ] &&
            return
        ;;
    *)
        # The loader of shared libraries has no room (127), or a library ends the
        # program while it is loaded: none of our code runs.
        "$1" --version >version 2>&1 || [ "$?" -lt 127 ] || return
        ;;
    esac
    echo "$name: $* ended with status $status"
    cat stderr
    ls -A
    touch failed
}

# run_all NAME - every command that computes, and some that do not.
run_all() {
    run "$1" lvlm-run --version
    run "$1" lvlm-run forward model.lvlm --inputs in.safetensors --out out --threads 2
    run "$1" lvlm-run generate model.lvlm --inputs one.safetensors --max-new-tokens 1
    run "$1" lvlm-verify replay model.lvlm golden.safetensors --threads 2
    run "$1" lvlm-tune grad model.lvlm --inputs in.safetensors --out out
    run "$1" lvlm-tune train model.lvlm --batches batches --steps 1 --out out --quiet
    run "$1" lvlm-tune train model.lvlm --batches batches --steps 1 --quiet \
        --stage connector --state out.state --out out --threads 2
    run "$1" lvlm-convert hf2native hf out
    run "$1" lvlm-convert native2hf model.lvlm out
    run "$1" lvlm-verify checksum model.lvlm
    run "$1" lvlm-verify compare model.lvlm hf
}

ln -s "$FIXTURES/paligemma-odd/model" hf
ln -s "$FIXTURES/paligemma-odd/golden.safetensors" golden.safetensors
ln -s "$FIXTURES/lora/paligemma" batches
cp "$FIXTURES/lora/paligemma/batch-000.safetensors" in.safetensors
# One text of the ids 2 and 5: the header's length, the header, 64-bit integers.
{
    printf '\101\0\0\0\0\0\0\0'
    printf '{"input_ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]}}'
    printf '\2\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0'
} >one.safetensors
lvlm-convert hf2native hf model.lvlm --quiet || exit 2

mb=50
while [ "$mb" -le 650 ]; do
    (ulimit -v $((mb * 1024)) && run_all "$mb MB")
    mb=$((mb + step))
done
# More threads than fit: fewer are started, and the result is the same.
lvlm-run forward model.lvlm --inputs in.safetensors --out few --threads 1 --quiet ||
    exit 2
(
    ulimit -v 1500000
    run "800 threads" lvlm-run forward model.lvlm --inputs in.safetensors --out out \
        --threads 800 --quiet
    cmp few out || touch failed
)
[ ! -e failed ] || verdict=1
exit $verdict
