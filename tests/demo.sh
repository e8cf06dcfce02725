#!/bin/sh
# demo.sh - builds the programs (build/bin) and shows the main jobs on bundled models:
#
#   a checkpoint to the native layout, its projections, its parity with the reference
#   stage by stage; a picture, and what the model says of it; a new task, learnt in a
#   minute; and back to Hugging Face, byte for byte where nothing was trained.
#
# The results are kept in build/demo. Stops at the first failure.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
sh tests/install.sh build
sh tests/build.sh release build programs

# Waiting threads sleep, so that the tiny models are fast on a busy machine too.
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
ask() { run lvlm-run generate "$1" --image shapes.png --prompt "$2" --quiet; }

# count MODEL - how many of 40 pictures it counts right.
count() {
    tab=$(printf '\t')
    while IFS=$tab read -r picture _ question answer; do
        given=$(lvlm-run generate "$1" --image "numbers/$picture" --prompt "$question" \
            --max-new-tokens 8 --quiet </dev/null)
        [ "$given" = "$answer" ] && echo right
    done <others.tsv | grep -c right || true
}

run lvlm-convert hf2native hf-shapes shapes.lvlm
run lvlm-verify projections shapes.lvlm
run lvlm-verify replay shapes.lvlm shapes.safetensors --report report.html
run lvlm-convert native2hf shapes.lvlm back
run diff -r hf-shapes back

cat <<'END'

All of it agrees. shapes.png is a picture that this model was never shown:
END
ask shapes.lvlm 'What is in the picture?'
ask shapes.lvlm 'Which is bigger, the cross or the circle?'

cat <<'END'

It has not learnt to count. Pictures to learn from, a minute of training, and 40 others:
END
run make_shapes data numbers --seed 1 --texts 1 --train 1 --unseen 1
head -40 numbers/unseen-counting.tsv >others.tsv
before=$(count shapes.lvlm)
run lvlm-tune train shapes.lvlm --out counts.lvlm --data numbers/counting.jsonl \
    --images numbers --batch-size 16 --steps 200 --lr 5e-4 --warmup 0.05
printf '\nof 40 pictures it counts right: %s before, %s after\n' "$before" \
    "$(count counts.lvlm)"
ask counts.lvlm 'How many shapes are there?'
run lvlm-convert native2hf counts.lvlm hf-counts

printf '\nThe programs are in build/bin:  PATH="%s:$PATH"\n' "$root/build/bin"
printf 'What was made here is in build/demo, the report of replay among it:\n%s\n' \
    "$PWD/report.html"
