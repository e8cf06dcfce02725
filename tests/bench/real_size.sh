#!/bin/sh
# real_size.sh - times the programs on a checkpoint of real size, beside cp.
#
#   sh tests/bench/real_size.sh DIR [INPUTS.safetensors] [RUNS]
#
# DIR is a Hugging Face model directory; the work is done beside it, on the same disk,
# and needs three times its size there. cp and hf2native alternate; the median of RUNS
# (3) is printed. Peak memory is read from /proc: in total, and without mapped files.
set -eu
bin=$(cd "$(dirname "$0")/../../build/bin" && pwd)
source=$(cd "$1" && pwd)
inputs=${2:-}
runs=${3:-3}
work=$(mktemp -d "$(dirname "$source")/bench-XXXXXX")
trap 'rm -rf "$work"' EXIT

. "$(dirname "$0")/measure.sh"

median() {
    tr ' ' '\n' | grep . | sort -n |
        awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'
}

row() { printf '%-34s %9s s %9s MB %9s MB\n' "$1" "$seconds" "$peak" "$anonymous"; }

printf '%-34s %11s %12s %12s\n' '' 'time' 'peak' 'not mapped'
copies='' conversions=''
for _ in $(seq "$runs"); do
    rm -rf "$work/copy"; sync
    measure cp -rL "$source" "$work/copy"
    copies="$copies $seconds"
    rm -rf "$work/copy" "$work/model.lvlm"; sync
    measure "$bin/lvlm-convert" hf2native "$source" "$work/model.lvlm" --quiet
    conversions="$conversions $seconds"
    row 'hf2native'
done
cp=$(echo "$copies" | median)
convert=$(echo "$conversions" | median)
printf '%-34s %9s s\n' "cp, median of $runs" "$cp"
printf '%-34s %9s s   %s of cp\n' "hf2native, median of $runs" "$convert" \
    "$(echo "$convert $cp" | awk '{ printf "%.2f", $1 / $2 }')"

measure "$bin/lvlm-verify" checksum "$work/model.lvlm" --quiet
row checksum
measure "$bin/lvlm-convert" native2hf "$work/model.lvlm" "$work/back" --quiet
row 'native2hf'
diff -r "$source" "$work/back" && echo 'native2hf gives back the same bytes'
rm -rf "$work/back"
if [ -n "$inputs" ]; then
    for _ in $(seq "$runs"); do
        measure "$bin/lvlm-run" forward "$work/model.lvlm" --inputs "$inputs" \
            --out "$work/out.safetensors" --force --quiet
        row 'forward, f32'
    done
fi
