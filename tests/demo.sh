#!/bin/sh
# demo.sh - builds the programs (build/bin) and shows the main jobs on bundled models:
#
#   a checkpoint to the native layout, its projections, its digests, its parity with the
#   reference stage by stage, and back, byte for byte; then a model that can answer, its
#   answer, some fine-tuning, and its answer after that.
#
# What it makes is kept in build/demo. Stops at the first failure.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
sh tests/install.sh build
sh tests/build.sh release build programs

# Threads that wait sleep, so that the tiny models are quick on a busy machine too.
export OMP_WAIT_POLICY=passive
PATH=$root/build/bin:$PATH
rm -rf build/demo
sh tests/demo_files.sh build/demo
cd build/demo

run() {
    printf '\n$'
    for word in "$@"; do
        case $word in *' '*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    echo
    "$@"
}
ask() {
    run lvlm-run generate "$1" --image photos/jpeg-photo.jpg --prompt 'caption en' \
        --max-new-tokens 16 --check
}

run lvlm-convert hf2native hf-model model.lvlm
run lvlm-verify projections model.lvlm
run lvlm-verify checksum model.lvlm
run lvlm-verify replay model.lvlm golden.safetensors --report report.html
run lvlm-convert native2hf model.lvlm back
run lvlm-verify compare hf-model back
run diff -r hf-model back
printf '\nAll of it agrees.\n'

cat <<'END'

A tiny PaliGemma with tokenizer and templates: its weights are random numbers, and so
is what it says, until it has learnt two examples by heart.
END
run lvlm-convert hf2native hf-talks talks.lvlm
ask talks.lvlm
run lvlm-tune train talks.lvlm --data train.jsonl --images photos --steps 60 \
    --lr 2e-2 --out tuned.lvlm
ask tuned.lvlm

printf '\nThe programs are in build/bin:  PATH="%s:$PATH"\n' "$root/build/bin"
printf 'What was made here is in build/demo, the report of replay among it:\n%s\n' \
    "$PWD/report.html"
