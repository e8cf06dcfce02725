#!/bin/sh
# false_alarms.sh - replays of right models in every way: none may fail.
#
#   sh tests/bench/false_alarms.sh [FOLDER...]
#
# BIN is the folder of the programs, by default build/bin; THREADS are numbers of
# threads, by default "1 2 3 4"; JOBS, by default 2, how many runs there are at a time.
# A FOLDER holds model/ and recordings (*.safetensors), by default those of fixtures/.
# Each recording is replayed in f32, bf16x2, bf16 and f64, with every kernel that this
# processor has and with each number of THREADS, with its gradients and without. Prints
# for each precision how many runs there were, how many stages passed as rounding, and
# the largest error over its band of those within one; exit 1 after a failure, which is
# named.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
export BIN="${BIN:-$top/build/bin}" OMP_WAIT_POLICY=passive
[ $# -gt 0 ] || set -- "$top"/fixtures/*/
work=$(mktemp -d)
export work
trap 'rm -rf "$work"' EXIT

# replay COMPUTE KERNEL THREADS GRADS MODEL RECORDING - one line for each stage.
cat >"$work/replay" <<'END'
result=$(mktemp "$work/result.XXXXXX")
where=$(basename "$(dirname "$6")")/$(basename "$6" .safetensors)
where="$where $1 kernel=$2 threads=$3 $4"
[ "$4" = plain ] && grads= || grads=$4
LVLM_KERNEL=$2 "$BIN/lvlm-verify" replay "$5" "$6" --compute "$1" --threads "$3" \
    $grads --json --quiet >"$result" 2>&1 && status=0 || status=$?
awk -v compute="$1" -v where="$where" -v status=$status '
    /^  "verdict"/ { said = $0 }
    !/^      "/ { next } # of a row of a stage
    { key = $1; x = $2; gsub(/[":]/, "", key); gsub(/[",]/, "", x) }
    key == "name" { name = x; error = "" }
    key == "verdict" { verdict = x }
    key == "band" { band = x }
    key == "relative_l2" && name ~ /^grad\./ { error = x }
    key == "row_error" && name !~ /^grad\./ { error = x }
    error != "" {
        print compute, name ~ /^grad\./ ? "gradient" : "stage", verdict, error / band,
            where ":" name
        error = ""
    }
    END {
        print compute, "run", status
        if (status) print "FAILS " where ": exit status " status ":" said
    }' "$result" >"$result.lines"
grep '^FAILS' "$result.lines" >&2 || :
rm "$result"
END

# kernels MODEL RECORDING - those that this processor has.
kernels() {
    for kernel in openblas amx avx512_bf16; do
        LVLM_KERNEL=$kernel "$BIN/lvlm-verify" replay "$1" "$2" --quiet 2>&1 |
            grep -q "^lvlm-verify: LVLM_KERNEL" || echo $kernel
    done
}

n=0
for folder; do
    [ -d "$folder/model" ] || continue
    ls "$folder"/*.safetensors >"$work/names" 2>/dev/null || continue
    n=$((n + 1))
    "$BIN/lvlm-convert" hf2native "$folder/model" "$work/model.$n" --quiet
    while read -r recording; do
        grep -aq -m 1 '"out\.[a-su-z]' "$recording" || continue # tokens only
        [ -s "$work/kernels" ] ||
            kernels "$work/model.$n" "$recording" >"$work/kernels"
        ways=plain
        grep -aq -m 1 '"grad\.' "$recording" && ways='plain --grads'
        for compute in f32 bf16x2 bf16 f64; do
            for kernel in $(cat "$work/kernels"); do
                for threads in ${THREADS:-1 2 3 4}; do
                    for grads in $ways; do
                        echo "$compute $kernel $threads $grads" \
                            "$work/model.$n $recording"
                    done
                done
            done
        done
    done <"$work/names"
done >"$work/runs"
xargs -P "${JOBS:-2}" -L 1 sh "$work/replay" <"$work/runs"

echo "kernels: $(paste -sd ' ' "$work/kernels")"
cat "$work"/result.*.lines | awk '
    $1 == "FAILS" { next }
    $2 == "run" { runs[$1]++; failed += $3 != 0; next }
    $3 == "rounding" { rounding[$1, $2]++; next }
    $3 == "ok" || $3 == "exact" {
        n[$1, $2]++
        if ($4 > most[$1, $2]) { most[$1, $2] = $4; at[$1, $2] = $0 }
    }
    END {
        count = split("f32 bf16x2 bf16 f64", all)
        split("stage gradient", kinds)
        for (i = 1; i <= count; i++)
            for (k = 1; k <= 2; k++) {
                key = all[i] SUBSEP kinds[k]
                where = at[key]
                for (j = 0; j < 4; j++) sub(/^[^ ]+ /, "", where)
                printf "%-7s %-9s %5d runs %7d in band %5d rounding", all[i], kinds[k],
                    runs[all[i]], n[key], rounding[key]
                printf "  %.3f of its band  %s\n", most[key], where
            }
        print failed + 0 " failed"
        exit failed != 0
    }'
