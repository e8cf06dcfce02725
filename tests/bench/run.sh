#!/bin/sh
# run.sh - the benchmark: our programs and the reference on the same checkpoints and
# inputs, in turns, and the page that shows them.
#
#   sh tests/bench/run.sh [--dir DIR] [--models "small middle tower 3b"] [--rounds N]
#                         [--python PYTHON] [--page FILE.md] [--threads N]
#
# Builds what it needs, and makes checkpoints of real shape with random weights
# (bench_make.c) in DIR, which is build/bench by default and needs 25 GB for the
# largest; they are used again by the next run. Where PYTHON (python3) has torch and
# transformers, the reference is timed in turns with ours and its results are compared;
# else the page shows ours. Every figure goes to DIR/results.tsv, in place of those of
# an earlier run of the same models; page.awk writes FILE.md (README.md here, after
# about.md), and chart.awk the chart beside it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
bin=$top/build/bin
dir=$top/build/bench models="small middle tower 3b" rounds=3 python=python3 page=
threads=2
while [ $# -gt 0 ]; do
    case $1 in
    --dir | --models | --rounds | --python | --page | --threads)
        [ $# -gt 1 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
        eval "${1#--}=\$2"
        shift 2
        ;;
    *)
        sed -n 's/^# \{0,1\}//; 2,/^set/p' "$0" | sed '/^set/d' >&2
        exit 2
        ;;
    esac
done
sh "$top/tests/build.sh" release build benchmarks >&2
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ -n "$page" ] || page=$here/README.md
results=$dir/results.tsv
touch "$results"
for model in $models; do
    awk -F '\t' -v model="$model" '$1 != model && index($1, model "-") != 1' \
        "$results" >"$results.kept"
    mv "$results.kept" "$results"
done
. "$here/measure.sh"

say() { echo "run.sh: $*" >&2; }

"$python" -c 'import torch, transformers' 2>/dev/null || {
    say "'$python' has no torch and transformers: the reference is left out"
    python=
}

# record MODEL WORK MODE WHO SECONDS PEAK ANONYMOUS - one measurement.
record() { printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$@" >>"$results"; }

# ---- ours --------------------------------------------------------------------------

# number_in KEY FILE - the number of a key of JSON.
number_in() { sed -n "s/.*\"$1\": \([-0-9.e]*\).*/\1/p" "$2" | head -1; }

# forward MODEL WORK MODE INPUTS - the pass, and the whole program.
forward() {
    measure_to "$dir/forward.json" "$bin/lvlm-run" forward "$dir/$1.lvlm" \
        --inputs "$4" --out "$dir/ours-$3.safetensors" --compute "$3" --force --json \
        --quiet --threads "$threads"
    record "$1" "$2" "$3" ours "$(number_in seconds "$dir/forward.json")" "$peak" \
        "$anonymous"
    record "$1" "$2, started" "$3" ours "$seconds" "$peak" "$anonymous"
}

# train MODEL WORK MODE OPTION... - two steps.
train() {
    model=$1 work=$2 mode=$3
    shift 3
    rm -rf "$dir/tuned.lvlm" "$dir/adapter"
    measure "$bin/lvlm-tune" train "$dir/$model.lvlm" --steps 2 \
        --batches "$dir/$model-batches" --compute "$mode" --log "$dir/train.jsonl" \
        --lr 1e-5 --schedule constant --force --quiet --threads "$threads" "$@"
    rm -rf "$dir/tuned.lvlm" "$dir/adapter"
    for s in $(sed -n 's/.*"seconds": \([0-9.]*\).*/\1/p' "$dir/train.jsonl"); do
        record "$model" "$work" "$mode" ours "$s" "$peak" "$anonymous"
    done
    loss=$(sed -n '1s/.*"loss": \([0-9.]*\).*/\1/p' "$dir/train.jsonl")
    record "$model" "$work" "$mode" "ours, loss" "$loss" 0 0
}

decode() { # MODEL MODE INPUTS
    measure_to "$dir/decode.json" "$bin/lvlm-run" generate "$dir/$1.lvlm" \
        --inputs "$3" --max-new-tokens 25 --compute "$2" --json --quiet \
        --threads "$threads"
    record "$1" decode "$2" ours "$(number_in token_seconds "$dir/decode.json")" \
        "$peak" "$anonymous"
}

# proposals MODEL INPUTS - a pass over 8 proposed tokens of one text.
proposals() {
    seconds=$("$top/build/tests/bench_decode" "$threads" "$dir/$1.lvlm" "$2" 4 |
        awk '/^8 proposed/ { print $3 / 1000 }')
    record "$1" 'decode, 8 proposed tokens' f32 ours "$seconds" 0 0
}

# ---- the reference -----------------------------------------------------------------

# reference MODEL WORK MODE INPUTS ARGUMENT... - each call of reference.py.
reference() {
    [ -n "$python" ] || return 0
    model=$1 work=$2 mode=$3 inputs=$4
    shift 4
    "$python" "$here/reference.py" "$dir/$model" "$inputs" "$@" --dtype "$mode" \
        --threads "$threads" >"$dir/reference.txt" 2>"$dir/reference.log" || {
        say "the reference failed: $(tail -1 "$dir/reference.log")"
        return 0
    }
    memory=$(sed -n 's/^peak //p' "$dir/reference.txt")
    load=$(sed -n 's/^load //p' "$dir/reference.txt")
    for s in $(sed -n 's/^call //p' "$dir/reference.txt"); do
        record "$model" "$work" "$mode" reference "$s" "$memory" "$memory"
    done
    first=$(sed -n 's/^call //p' "$dir/reference.txt" | head -1)
    record "$model" "$work, started" "$mode" reference \
        "$(echo "$load $first" | awk '{ print $1 + $2 }')" "$memory" "$memory"
    loss=$(sed -n 's/^loss //p' "$dir/reference.txt")
    [ -z "$loss" ] || record "$model" "$work" "$mode" "reference, loss" "$loss" 0 0
}

# ---- both --------------------------------------------------------------------------

modes="f32 bf16x2 bf16"

# turns MODEL WORK SIDE TOKENS [TEXTS] - forward passes over such inputs.
turns() {
    model=$1 name=$2
    shift 2
    amount=$("$top/build/tests/bench_make" work "$dir/$model" "$@")
    record "$model" "$name" - amount "$amount" 0 0
    each_round turn "$model" "$name" "$(inputs "$model" "$@")"
}

# turn MODEL WORK INPUTS - two in every mode, in turns with two of the reference.
turn() {
    for mode in $modes; do
        forward "$1" "$2" "$mode" "$3"
        forward "$1" "$2" "$mode" "$3"
        [ "$mode" = bf16x2 ] || reference "$1" "$2" "$mode" "$3" forward \
            --logits "$dir/reference-$mode.safetensors"
    done
}

# distance MODEL WORK MODE WHO FILE - how far logits are from those of double.
distance() {
    [ -e "$5" ] || return 0
    "$bin/lvlm-verify" compare "$dir/ours-f64.safetensors" "$5" --json --quiet \
        >"$dir/distance.json" || true
    error=$(number_in relative_l2 "$dir/distance.json")
    record "$1" "$2" "$3" "$4, error" "$error" 0 0
}

# accuracy MODEL WORK INPUTS - of what the last turn left.
accuracy() {
    "$bin/lvlm-run" forward "$dir/$1.lvlm" --inputs "$3" --compute f64 --force --quiet \
        --out "$dir/ours-f64.safetensors" --threads "$threads"
    for mode in $modes; do
        distance "$1" "$2" "$mode" ours "$dir/ours-$mode.safetensors"
        distance "$1" "$2" "$mode" reference "$dir/reference-$mode.safetensors"
    done
    rm -f "$dir"/ours-*.safetensors "$dir"/reference-*.safetensors
}

# steps MODEL WORK OPTION... - two steps in every mode, in turns with the reference.
steps() {
    model=$1 work=$2
    shift 2
    for mode in $modes; do
        train "$model" "$work" "$mode" "$@"
        [ "$mode" = bf16x2 ] || reference "$model" "$work" "$mode" \
            "$dir/$model-batches/batch-000.safetensors" "${work%% *}"
    done
}

each_round() { # COMMAND... - as often as --rounds says
    for _ in $(seq "$rounds"); do "$@"; done
}

# inputs MODEL SIDE TOKENS [TEXTS] - made once; prints the path.
inputs() {
    file=$dir/$1-$2-$3-${4:-1}.safetensors
    [ -e "$file" ] ||
        "$top/build/tests/bench_make" inputs "$dir/$1" "$file" "$2" "$3" "${4:-1}" >&2
    echo "$file"
}

# read_from_disk FILE - as the first program after a restart reads it.
read_from_disk() {
    dd of="$1" oflag=nocache conv=notrunc,fdatasync count=0 status=none
    "$bin/lvlm-verify" checksum "$1" --quiet >/dev/null
}

# prepare MODEL CONFIG - a checkpoint and its native file, made once, and in memory.
prepare() {
    mkdir -p "$dir/$1" "$dir/$1-batches"
    cmp -s "$2" "$dir/$1/config.json" || rm -f "$dir/$1"/*.safetensors "$dir/$1"*.lvlm
    if [ ! -e "$dir/$1.lvlm" ]; then
        say "making $1"
        cp "$2" "$dir/$1/config.json"
        "$top/build/tests/bench_make" checkpoint "$dir/$1"
        "$bin/lvlm-convert" hf2native "$dir/$1" "$dir/$1.lvlm" --quiet
    fi
    read_from_disk "$dir/$1.lvlm"
}

# training MODEL INPUTS - a folder of one batch.
training() { ln -f "$2" "$dir/$1-batches/batch-000.safetensors"; }

conversion() { # MODEL - cp and what reads or writes every byte
    for work in cp hf2native checksum; do
        record "$1" "$work" - amount "$(stat -c %s "$dir/$1.lvlm")" 0 0
    done
    rm -rf "$dir/copy" "$dir/copy.lvlm"; sync
    measure cp -rL "$dir/$1" "$dir/copy"
    record "$1" cp - ours "$seconds" "$peak" "$anonymous"
    rm -rf "$dir/copy"; sync
    measure "$bin/lvlm-convert" hf2native "$dir/$1" "$dir/copy.lvlm" --quiet
    record "$1" hf2native - ours "$seconds" "$peak" "$anonymous"
    rm -f "$dir/copy.lvlm"
    measure "$bin/lvlm-verify" checksum "$dir/$1.lvlm" --quiet
    record "$1" checksum - ours "$seconds" "$peak" "$anonymous"
}

# ---- the models --------------------------------------------------------------------

run_small() { # a full step with a large vocabulary; images; vocabulary
    prepare small "$here/models/small/config.json"
    turns small "forward, 288 tokens" 1 32
    accuracy small "forward, 288 tokens" "$(inputs small 1 32)"
    training small "$(inputs small 1 32)"
    each_round steps small full --out "$dir/tuned.lvlm"
    for texts in 2 4; do
        turns small "forward, $texts x 288 tokens" 1 32 "$texts"
    done
    for vocabulary in 32768 131072; do
        sed "s/257216/$vocabulary/; s/257152/$((vocabulary - 64))/" \
            "$here/models/small/config.json" >"$dir/config.json"
        prepare "small-$vocabulary" "$dir/config.json"
        turns "small-$vocabulary" "forward, 288 tokens" 1 32
    done
}

run_middle() { # growth with tokens; decoding
    prepare middle "$here/models/middle/config.json"
    for tokens in 128 512 2048 8192; do
        turns middle "forward, $tokens tokens" 0 "$tokens"
    done
    both_decode middle "$(inputs middle 0 128)"
}

both_decode() { # MODEL INPUTS
    # of one token as many bytes of bf16 as operations
    amount=$("$top/build/tests/bench_make" work "$dir/$1" 0 1)
    record "$1" decode - amount "$amount" 0 0
    for _ in $(seq "$rounds"); do
        decode "$1" f32 "$2"
        proposals "$1" "$2"
        reference "$1" decode bf16 "$2" decode --calls 1
    done
}

run_tower() { # growth with patches
    prepare tower "$here/models/tower/config.json"
    for side in 44 88; do
        turns tower "forward, $((side * side)) patches" "$side" 8
    done
    forward tower "forward, 20736 patches" f32 "$(inputs tower 144 8)"
}

run_3b() {
    prepare 3b "$top/fixtures/real_sizes/paligemma-3b-224/config.json"
    in=$(inputs 3b 1 32)
    turns 3b "forward, 288 tokens" 1 32
    accuracy 3b "forward, 288 tokens" "$in"
    training 3b "$in"
    each_round steps 3b connector --stage connector --out "$dir/tuned.lvlm"
    each_round steps 3b lora --lora r=8,alpha=16,targets=q,v \
        --adapter-out "$dir/adapter"
    both_decode 3b "$in"
    each_round conversion 3b
}

# ---- the machine -------------------------------------------------------------------

fact() { printf '%s\t%s\n' "$1" "$2"; }

# largest PATTERN COMMAND... - of the numbers that the pattern takes from its output.
largest() {
    pattern=$1
    shift
    "$@" | sed -n "$pattern" | sort -n | tail -1
}

# disk WHAT DD_ARGUMENT... - GB/s of a GB.
disk() {
    what=$1
    shift
    begin=$(date +%s.%N)
    dd bs=16M count=64 "$@" 2>/dev/null || return 0
    fact "disk, $what, GB/s" "$(echo "$begin $(date +%s.%N)" |
        awk '{ printf "%.1f", 1.074 / ($2 - $1) }')"
}

machine() {
    fact processor "$(lscpu | sed -n 's/^Model name: *//p' | head -1)"
    fact 'family, model' "$(lscpu | sed -n 's/^CPU family: *//p; s/^Model: *//p' |
        paste -sd, -)"
    fact 'cores used' "$threads"
    fact rounds "$rounds"
    fact memory "$(awk '/MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo)"
    fact lvlm "$("$bin/lvlm-run" --version | paste -sd' ' -)"
    [ -z "$python" ] || fact reference "$("$python" -c 'import torch, transformers
print("transformers", transformers.__version__, "on torch", torch.__version__)')"
    fact 'read from memory, GB/s' "$(largest 's/.*read \([0-9.]*\) GB.*/\1/p' \
        "$top/build/tests/bench_decode" "$threads")"
    disk written if=/dev/zero of="$dir/zeros" conv=fsync
    disk read if="$dir/zeros" of=/dev/null iflag=direct
    rm -f "$dir/zeros"
    "$top/build/tests/bench_ops" "$threads" >"$dir/ops.txt"
    fact 'sgemm of OpenBLAS, GFLOP/s' \
        "$(largest 's/.*sgemm \([0-9.]*\) .*/\1/p' cat "$dir/ops.txt")"
    for kind in bf16 f32; do
        fact "product kernel in the caches, $kind, GFLOP/s" \
            "$(largest "s/^kernel $kind: \([0-9.]*\) .*/\1/p" cat "$dir/ops.txt")"
    done
}

machine >"$dir/machine.tsv"
for model in $models; do
    case $model in
    small | middle | tower | 3b) "run_$model" ;;
    *) say "no model '$model': small, middle, tower, 3b"; exit 2 ;;
    esac
done
{
    cat "$here/about.md"
    awk -v chart="$(basename "$page" .md).svg" -f "$here/sort.awk" \
        -f "$here/page.awk" "$dir/machine.tsv" "$results"
} >"$page"
awk -f "$here/sort.awk" -f "$here/chart.awk" "$results" >"${page%.md}.svg"
echo "$page"
