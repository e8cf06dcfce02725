#!/bin/sh
# bands.sh - the largest errors of replays and their bands: the figures in
# verify/replay/bands.h.
#
#   sh tests/bench/bands.sh [FOLDER...]
#
# A FOLDER holds model/ and recordings: golden64*.safetensors in double; in float32
# golden*.safetensors and gradients.safetensors. Without one: those of fixtures/; what
# fixtures/trained.py makes is another. For each comparison it prints the largest error
# of a stage, of a gradient, and the largest divergence of a row of logits (kl):
#
#   exact      our double from recordings in double
#   f32        our f32 from recordings in float32
#   recorded   recordings in float32 from our double
#   own        our f32 from our double, by lvlm-verify precision
#   bf16x2     our bf16x2 from our double, and
#   bf16       our bf16
#   rounding   where a stage was looked at again: recorded over own
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
verify=$top/build/bin/lvlm-verify
[ $# -gt 0 ] || set -- "$top"/fixtures/*/
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# figures COMPARISON WHERE - a result as lines "COMPARISON KIND FIGURE WHERE:STAGE".
figures() {
    awk -v comparison="$1" -v where="$2" '
        function keep(what, kind, x) { print what, kind, x, where ":" name }
        { key = $1; x = $2; gsub(/[":]/, "", key); gsub(/[",]/, "", x) }
        !/^      (  )?"/ { next } # of a row of a stage
        key == "name" { name = x }
        key == "relative_l2" && name ~ /^grad\./ { keep(comparison, "gradient", x) }
        key == "row_error" { keep(comparison, "stage", x) }
        key == "max_kl" { keep(comparison, "kl", x) }
        key == "recorded_from_double" { recorded = x }
        key == "own_from_double" {
            keep("rounding", name ~ /^grad\./ ? "gradient" : "stage", recorded / x)
        }' "$work/result" >>"$work/figures"
}

# measure COMPARISON RECORDING VERB ARGUMENT... - a run of lvlm-verify.
measure() {
    comparison=$1
    where=$(basename "$(dirname "$2")")/$(basename "$2" .safetensors)
    recording=$2
    shift 2
    grads=
    grep -aq -m 1 '"grad\.' "$recording" && grads=--grads
    "$verify" "$@" $grads --json --quiet >"$work/result" 2>"$work/notes" ||
        { echo "bands: $where: $comparison: exit status $?" >&2; touch "$work/failed"; }
    figures "$comparison" "$where"
    sed -n 's/^ *"instruction_set": "\(.*\)".*/\1/p' "$work/result" >>"$work/sets"
}

for folder; do
    ls "$folder"/golden*.safetensors >"$work/names" 2>&1 || continue
    "$top/build/bin/lvlm-convert" hf2native "$folder/model" "$work/model.lvlm" \
        --force --quiet
    for golden in "$folder"/golden*.safetensors "$folder"/gradients.safetensors; do
        [ -e "$golden" ] || continue
        case $golden in
        */golden64*)
            measure exact "$golden" replay "$work/model.lvlm" "$golden"
            measure own "$golden" precision "$work/model.lvlm" --inputs "$golden"
            for mode in bf16x2 bf16; do
                measure $mode "$golden" precision "$work/model.lvlm" \
                    --inputs "$golden" --compute $mode
            done ;;
        *)
            measure f32 "$golden" replay "$work/model.lvlm" "$golden"
            measure recorded "$golden" replay "$work/model.lvlm" "$golden" \
                --compute f64 ;;
        esac
    done
done

bands=$top/verify/replay/bands.h
printf 'on %s; recorded with %s\n' \
    "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -1)" \
    "$(sort -u "$work/sets" | paste -sd ' ')"
sed -n 's/^#define LVLM_\([A-Z0-9_]*\) \([0-9.e-]*\)$/\1 \2/p' "$bands" |
    awk '
        NR == FNR { band[$1] = $2; next }
        { kind = $1 SUBSEP $2 }
        !(kind in most) || $3 > most[kind] { most[kind] = $3; place[kind] = $4 }
        function row(comparison, kind, limit) {
            if ((comparison, kind) in most)
                printf "%-9s %-9s %8.1e  %-9s %s\n", comparison, kind,
                    most[comparison, kind], limit, place[comparison, kind]
        }
        END {
            printf "%-9s %-9s %8s  %-9s %s\n", "", "", "at most", "band", "where"
            split("exact f32 recorded own bf16x2 bf16", comparisons)
            for (i = 1; i in comparisons; i++) {
                name = "BAND_" toupper(comparisons[i]) # two of them have none
                row(comparisons[i], "stage", band[name])
                row(comparisons[i], "gradient", band[name "_GRADIENT"])
                row(comparisons[i], "kl", band[name "_KL"])
            }
            row("rounding", "stage", band["ROUNDING"])
            row("rounding", "gradient", band["ROUNDING"])
        }' - "$work/figures"
[ ! -e "$work/failed" ]
