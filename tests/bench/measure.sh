# measure.sh - time and memory of a command, for the scripts here; sourced.

# measure_to FILE COMMAND... - its output goes to FILE. Sets seconds, peak and anonymous
# (MB resident, not of files).
measure_to() {
    output=$1
    shift
    begin=$(date +%s.%N)
    "$@" >"$output" &
    pid=$!
    peak=0
    anonymous=0
    while kill -0 "$pid" 2>/dev/null; do
        set -- $(awk '/^VmHWM|^RssAnon/ { printf "%d ", $2 / 1000 }' \
            "/proc/$pid/status" 2>/dev/null) 0 0
        [ "$1" -gt "$peak" ] && peak=$1
        [ "$2" -gt "$anonymous" ] && anonymous=$2
        sleep 0.05
    done
    wait "$pid"
    seconds=$(echo "$begin $(date +%s.%N)" | awk '{ printf "%.2f", $2 - $1 }')
}

measure() { measure_to /dev/null "$@"; }
