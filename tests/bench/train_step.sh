#!/bin/sh
# train_step.sh - time and peak memory of training steps.
#
#   sh tests/bench/train_step.sh MODEL.lvlm BATCHES [STEPS]
#
# BATCHES is a folder for lvlm-tune train --batches. Trains only the connector, then a
# LoRA of rank 8 on q and v, and prints the best of STEPS (4). The trained model is
# written beside MODEL, which needs as much space there again, and removed.
set -eu
bin=$(cd "$(dirname "$0")/../../build/bin" && pwd)
model=$1
batches=$2
steps=${3:-4}
work=$(mktemp -d "$(dirname "$model")/bench-XXXXXX")
trap 'rm -rf "$work"' EXIT
. "$(dirname "$0")/measure.sh"

# train NAME OPTION... - a row.
train() {
    name=$1
    shift
    measure "$bin/lvlm-tune" train "$model" --batches "$batches" --steps "$steps" \
        --log "$work/$name.jsonl" --quiet "$@"
    best=$(sed 's/.*"seconds": \([0-9.]*\).*/\1/' "$work/$name.jsonl" |
        sort -n | head -1)
    printf '%-34s %9s s a step, %s MB at most, %s MB not of files\n' "$name" "$best" \
        "$peak" "$anonymous"
}

train connector --stage connector --out "$work/tuned.lvlm"
rm -f "$work/tuned.lvlm"
train lora --lora r=8,alpha=16,targets=q,v --adapter-out "$work/adapter"
