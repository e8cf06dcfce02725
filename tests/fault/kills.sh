#!/bin/sh
# kills.sh - every command that writes is killed, runs out of disk and of descriptors:
# its output is the old one, the new one or absent, and no temporary stays.
#
#   BIN=build/dev/bin FIXTURES=fixtures sh tests/fault/kills.sh [long]
#
# long: more moments and limits, and as root a small disk that is really full (tmpfs).
set -u
BIN=$(cd "${BIN:?the folder of the programs}" && pwd) || exit 2
FIXTURES=$(cd "${FIXTURES:?the folder of the fixtures}" && pwd) || exit 2
export OMP_NUM_THREADS=1
scratch=$(mktemp -d)
mounted=
trap '[ -z "$mounted" ] || umount "$mounted"; rm -rf "$scratch"' EXIT
cd "$scratch" || exit 2
PATH=$BIN:$PATH
if [ "${1:-}" = long ]; then
    moments='1 2 3 4 5 6 7 8 9 10 12 14 16 18 20 25 30 40 50 70'
    sizes='0 1 2 3 4 5 6 7'
    descriptors='4 5 6 7 8 9 10 12'
else
    moments='3 8 16'
    sizes='0 4'
    descriptors='5 7'
fi

# ---- what is killed: work NAME OUT [--force] ---------------------------------------

files='hf2native merge_lora preprocess forward grad report junit train plot'
folders='native2hf hub adapter'

work() {
    name=$1 to=$2
    shift 2
    case $name in
    hf2native) set -- lvlm-convert hf2native hf "$to" "$@" ;;
    native2hf) set -- lvlm-convert native2hf shards.lvlm "$to" "$@" ;;
    hub) set -- lvlm-convert native2hf m.lvlm "$to" --layout hub \
        --max-shard-size 40000 "$@" ;;
    merge_lora) set -- lvlm-convert merge-lora m.lvlm adapter "$to" "$@" ;;
    preprocess) set -- lvlm-run preprocess talk.lvlm --image cat.png --prompt cat \
        --out "$to" "$@" ;;
    forward) set -- lvlm-run forward m.lvlm --inputs in.safetensors --out "$to" "$@" ;;
    grad) set -- lvlm-tune grad m.lvlm --inputs in.safetensors --out "$to" "$@" ;;
    report) set -- lvlm-verify replay m.lvlm golden.safetensors --report "$to" "$@" ;;
    junit) set -- lvlm-verify replay m.lvlm golden.safetensors --junit "$to" "$@" ;;
    train) set -- lvlm-tune train m.lvlm --batches batches --steps 1 --out "$to" "$@" ;;
    plot) set -- lvlm-tune train m.lvlm --batches batches --steps 1 --lora r=1 \
        --adapter-out "$to.a" --plot "$to" "$@" ;;
    adapter) set -- lvlm-tune train m.lvlm --batches batches --steps 1 --lora r=2 \
        --adapter-out "$to" "$@" ;;
    esac
    # timeout or limit, which call what comes after them; or nothing
    $killer "$@" --quiet >stdout 2>stderr
}
killer=
# A redirection in the shell would need a descriptor itself.
echo 'ulimit "$1" "$2" && shift 2 && exec "$@"' >limit

ln -s "$FIXTURES/paligemma-odd/model" hf
ln -s "$FIXTURES/paligemma2-bf16/model" hf2
ln -s "$FIXTURES/prompts/paligemma/model" hf3
ln -s "$FIXTURES/paligemma-odd/golden.safetensors" golden.safetensors
ln -s "$FIXTURES/lora/paligemma" batches
ln -s "$FIXTURES/lora/paligemma/end" adapter
ln -s "$FIXTURES/lora/paligemma/batch-000.safetensors" in.safetensors
ln -s "$FIXTURES/images/png-rgb.png" cat.png
lvlm-convert hf2native hf m.lvlm --quiet || exit 2
lvlm-convert hf2native hf2 shards.lvlm --quiet || exit 2
lvlm-convert hf2native hf3 talk.lvlm --quiet || exit 2
mkdir expect old
for name in $files $folders; do
    work "$name" "expect/$name" || { cat stderr; exit 2; }
done
rm -rf expect/plot.a
lvlm-convert native2hf m.lvlm old/native2hf --quiet
cp -r old/native2hf old/hub
mkdir old/adapter
cp "$FIXTURES"/lora/paligemma/end/* old/adapter
chmod -R u+w old
for name in $folders; do echo mine >"old/$name/notes"; done

# ---- what must hold afterwards -----------------------------------------------------

fail() {
    echo "$*"
    cat stderr
    ls -lAR out* 2>/dev/null
    touch failed
}

# adapter_is FOLDER - is the adapter in out equal to that one?
adapter_is() {
    cmp -s out/adapter_config.json "$1/adapter_config.json" &&
        cmp -s out/adapter_model.safetensors "$1/adapter_model.safetensors"
}

# set_of NAME - the set of files that a loader finds in the folder: old, new, none,
# mixed.
set_of() {
    if [ "$1" = adapter ]; then
        if [ ! -e out/adapter_config.json ] ||
            [ ! -e out/adapter_model.safetensors ]; then
            echo none
        elif adapter_is old/adapter; then
            echo old
        elif adapter_is expect/adapter; then
            echo new
        else
            echo mixed
        fi
    elif ! lvlm-convert hf2native out loaded --force --quiet 2>/dev/null; then
        echo none
    elif cmp -s loaded "old.$1.lvlm"; then
        echo old
    elif cmp -s loaded "new.$1.lvlm"; then
        echo new
    else
        echo mixed
    fi
}

# outcome NAME - the same of any output; absent where there is none.
outcome() {
    [ -e out ] || { echo absent; return; }
    case " $folders " in
    *" $1 "*)
        set_of "$1"
        return
        ;;
    esac
    if cmp -s out "expect/$1"; then
        echo new
    elif [ "$(cat out 2>/dev/null)" = old ]; then
        echo old
    elif [ "$1" = report ] || [ "$1" = junit ]; then # they contain times
        if tail -c 20 out | grep -q '</'; then echo new; else echo mixed; fi
    else
        echo mixed
    fi
}

for name in native2hf hub; do
    cp -r "old/$name" out && lvlm-convert hf2native out "old.$name.lvlm" --quiet
    work "$name" out --force || fail "$name over an old folder"
    [ -e out/notes ] || fail "$name: what is not ours is gone"
    lvlm-convert hf2native out "new.$name.lvlm" --quiet || fail "$name: does not load"
    rm -rf out
done

# begin NAME - restores the state before each attempt.
begin() {
    rm -rf out out.* .out*
    case " $folders " in
    *" $1 "*) cp -r "old/$1" out ;;
    *) echo old >out ;;
    esac
}

no_temporaries() {
    left=$(find . -name '*lvlm-tmp*')
    [ -z "$left" ] || fail "$1: leaves $left"
}

# check NAME WHAT - one of the outcomes that are allowed.
check() {
    case $(outcome "$1") in
    old | new | none) ;; # none: of a folder only
    *) fail "$1, $2: $(outcome "$1")" ;;
    esac
}

# ---- kills and signals -------------------------------------------------------------

for name in $files $folders; do
    for moment in $moments; do
        for signal in KILL TERM INT HUP; do
            [ "${1:-}" = long ] || [ "$signal" != HUP ] || continue
            begin "$name"
            killer="timeout --foreground -s $signal $(printf 0.%03d "$moment")"
            work "$name" out --force
            killer=
            check "$name" "SIG$signal after $moment ms"
            [ "$signal" = KILL ] || no_temporaries "$name, SIG$signal after $moment ms"
        done
    done
    # leftovers of a killed run do not disturb the next one, which removes them
    begin "$name"
    killer='timeout --foreground -s KILL 0.008'
    work "$name" out --force
    killer=
    work "$name" out --force || fail "$name after a kill"
    [ "$(outcome "$name")" = new ] || fail "$name after a kill: $(outcome "$name")"
    no_temporaries "$name after a kill"
done

# ---- no room -----------------------------------------------------------------------

# room NAME WHAT - after a run that may have failed for want of something.
room() {
    case $status in
    0) [ "$(outcome "$1")" = new ] || fail "$1, $2: status 0, $(outcome "$1")" ;;
    3) check "$1" "$2" ;;
    127) ;; # the loader of shared libraries has no room
    *) fail "$1, $2: status $status" ;;
    esac
    no_temporaries "$1, $2"
}

# clang's OpenMP keeps a kilobyte of shared memory: the limit applies to that too, and
# it does not check whether it got it.
least=2

bytes_of() { find "$1" -type f -exec cat {} + | wc -c; }

for name in $files $folders; do
    for eighth in $sizes; do
        begin "$name"
        blocks=$(($(bytes_of "expect/$name") * eighth / 8 / 512))
        [ "$blocks" -ge "$least" ] || blocks=$least
        killer="sh ./limit -f $blocks"
        work "$name" out --force
        status=$?
        killer=
        room "$name" "no file over $blocks blocks"
    done
    for n in $descriptors; do
        begin "$name"
        killer="sh ./limit -n $n"
        work "$name" out --force
        status=$?
        killer=
        room "$name" "$n descriptors"
    done
done

# A disk that is full: the old output stays, or is replaced whole.
mkdir disk
if [ "${1:-}" = long ] && mount -t tmpfs -o size=1m none disk 2>/dev/null; then
    mounted=$scratch/disk
    for name in $files $folders; do
        for eighth in $sizes; do
            rm -rf disk/* disk/.[!.]* out
            begin "$name"
            mv out disk/out
            ln -s disk/out out
            free=$(df --output=avail -B1 disk | tail -1)
            free=$((free - $(bytes_of "expect/$name") * eighth / 8))
            [ "$free" -gt 0 ] && head -c "$free" /dev/zero >disk/filler
            work "$name" disk/out --force
            status=$?
            room "$name" "a full disk"
        done
    done
    rm -rf out
fi

[ ! -e failed ] && echo 'old, new or absent; no temporary left'
