#!/bin/sh
# jobs.sh - prints how many compilers or tests may run at a time: one for each processor
# that this process may use (affinity, quota of its control group) and for each GB free.
jobs=$(nproc 2>/dev/null || echo 1)

# at_most NUMBER
at_most() { [ "$1" -ge "$jobs" ] || jobs=$1; }

if [ -r /sys/fs/cgroup/cpu.max ]; then
    read -r quota period </sys/fs/cgroup/cpu.max
    [ "$quota" = max ] || at_most $(((quota + period - 1) / period))
fi
if [ -r /proc/meminfo ]; then
    at_most "$(awk '/^MemAvailable/ { print int($2 / 1000000) }' /proc/meminfo)"
fi
[ "$jobs" -ge 1 ] || jobs=1
echo "$jobs"
