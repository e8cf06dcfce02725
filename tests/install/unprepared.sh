#!/bin/sh
# unprepared.sh - BUILD_FOLDER: checks a build without prepare/ (-DLVLM_PREPARE=OFF).
#
# Libraries for images and Unicode are neither looked for nor linked; conversion, replay
# and a step of training work on ready tensors; what needs prepare/ is refused by name.
set -u
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
PATH=$BIN:$PATH
fixture=$FIXTURES/paligemma2-bf16
verdict=0
libraries='jpeg\|png\|webp\|pcre2\|utf8proc'

# wrong WHAT - prints it with the output that shows it, and exits.
wrong() {
    echo "$1:"
    cat "$scratch/out"
    verdict=1
}

# works COMMAND... - it must succeed.
works() { "$@" >"$scratch/out" 2>&1 || wrong "$*"; }

# refused NAME COMMAND... - status 2, and a sentence that begins with NAME.
refused() {
    name=$1
    shift
    "$@" >"$scratch/out" 2>&1
    [ $? = 2 ] && grep -q "^[a-z-]*: $name: .*-DLVLM_PREPARE=ON" "$scratch/out" ||
        wrong "$*: not refused"
}

cd "$scratch" || exit 2
grep -i "$libraries" "$1/CMakeCache.txt" >out && wrong 'CMake has looked for libraries'
for program in lvlm-convert lvlm-run lvlm-tune lvlm-verify; do
    readelf -dW "$BIN/$program" | grep "NEEDED.*\($libraries\)" >out &&
        wrong "$program is linked to"
done

works lvlm-convert hf2native "$fixture/model" model.lvlm
works lvlm-verify replay model.lvlm "$fixture/golden64.safetensors" --grads
works lvlm-convert hf2native "$FIXTURES/paligemma-layouts/hub" small.lvlm
ln -s "$FIXTURES/train/batches" batches
works lvlm-run forward small.lvlm --inputs batches/batch-000.safetensors \
    --out out.safetensors
works lvlm-tune train small.lvlm --batches batches --steps 1 --out tuned.lvlm
works lvlm-verify checksum tuned.lvlm
works lvlm-run tokenize --help

refused tokenize lvlm-run tokenize model.lvlm
refused preprocess lvlm-run preprocess model.lvlm --prompt x --out in.safetensors
refused --prompt lvlm-run generate model.lvlm --prompt x
refused --messages lvlm-run generate model.lvlm --messages m.json
refused --data lvlm-tune train model.lvlm --data d.jsonl --steps 1 --out o.lvlm
refused --eval lvlm-tune train model.lvlm --batches batches --eval d.jsonl --steps 1 \
    --out o.lvlm
for option in '--template llava' --pad-to-square; do
    refused '--images, .* and --pad-to-square' lvlm-tune train small.lvlm \
        --batches batches --steps 1 --out o.lvlm $option
done
exit "$verdict"
