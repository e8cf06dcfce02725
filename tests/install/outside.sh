#!/bin/sh
# outside.sh - BUILD_FOLDER: installs into a temporary prefix; there a C program that
# knows nothing but pkg-config compiles, links and runs.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --install "$1" --prefix "$scratch/prefix" >"$scratch/log"
pc=$(find "$scratch/prefix" -name lvlm.pc)
PKG_CONFIG_PATH=${pc%/*}
export PKG_CONFIG_PATH

cat >"$scratch/outside.c" <<'END'
#include <stdio.h>
#include "formats/base/error.h"
#include "formats/checkpoint.h"
#include "runtime/model.h"
int main(void)
{
    lvlm_error err;
    lvlm_checkpoint *checkpoint = NULL;
    if (lvlm_checkpoint_open(&checkpoint, "/nowhere", NULL, &err) == 0) return 1;
    return puts(err.text) < 0;
}
END

# CFLAGS carries the sanitizers of the build; it is a list of words.
# shellcheck disable=SC2046,SC2086
"${CC:-cc}" -std=c11 -Wall -Werror ${CFLAGS:-} \
    -o "$scratch/outside" "$scratch/outside.c" \
    $(pkg-config --cflags --libs --static lvlm)
"$scratch/outside"
"$scratch/prefix/bin/lvlm-convert" --version
