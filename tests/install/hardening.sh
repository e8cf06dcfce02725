#!/bin/sh
# hardening.sh - checks the built programs for hardening, as read from their files.
#
#   BIN=FOLDER HARDENED=ON|OFF sh hardening.sh
#
# In every build: no RUNPATH, and a library in the current directory is not loaded.
# In a release build besides: position independent, full RELRO, no executable stack,
# checked copies (FORTIFY), a stack protector, and landing pads (CET) on x86-64.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
failed=0

# expect PROGRAM WHAT COMMAND... - the command must succeed.
expect() {
    program=$1 what=$2
    shift 2
    "$@" && return
    echo "$program: $what"
    failed=1
}

has() { grep -q "$1" "$2"; }
has_not() { ! has "$1" "$2"; }

# A library here that each of the programs needs, and that prints a line when it is
# loaded.
cat >planted.c <<'END'
#include <stdio.h>
__attribute__((constructor)) static void planted(void)
{
    fputs("PLANTED\n", stderr);
}
END
"${CC:-cc}" -shared -fPIC -o planted.so planted.c

for program in lvlm-convert lvlm-run lvlm-tune lvlm-verify; do
    path=$BIN/$program
    readelf -dW "$path" >dynamic
    expect $program 'has a RUNPATH' has_not 'RUNPATH\|RPATH' dynamic
    for library in $(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' dynamic); do
        case $library in libc.so* | ld-*) ;; *) cp planted.so "$library" ;; esac
    done
    "$path" --version >out 2>&1 || true
    expect $program 'loads libraries from the current directory' has_not PLANTED out
    expect $program 'does not run here' has "^$program [0-9]" out
    rm -f lib*.so*

    [ "$HARDENED" = ON ] || continue
    readelf -hlW "$path" >headers
    readelf -sW "$path" >symbols
    expect $program 'is not position independent' has 'Type: *DYN' headers
    expect $program 'has an executable stack' has 'GNU_STACK.* RW ' headers
    expect $program 'has no RELRO' has GNU_RELRO headers
    expect $program 'binds lazily: RELRO is partial' has BIND_NOW dynamic
    expect $program 'has no stack protector' has __stack_chk_fail symbols
    expect $program 'has no checked copies' has '__[a-z]*_chk' symbols
    [ "$(uname -m)" = x86_64 ] || continue
    objdump -d --no-show-raw-insn --disassemble=main "$path" >main
    expect $program 'has no landing pads' has endbr64 main
done
exit $failed
