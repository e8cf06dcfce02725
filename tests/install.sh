#!/bin/sh
# install.sh - installs the tools and libraries that are missing (Debian's packages).
#
#   sh tests/install.sh unprepared   what the programs need with -DLVLM_PREPARE=OFF
#   sh tests/install.sh build        that, and what images, tokenizers and prompts need
#   sh tests/install.sh test         that, and what the tests need
#
# Installs only what is missing and prints nothing when nothing is. Only root can
# install; for other users it prints the command. Exit 1 when something stays missing.
set -u

# Purpose, how to check that it is installed, package. omp.h: threads with clang. A wish
# is installed if the system has the package; if not, the test that needs it is skipped.
needs='
build   command gcc               gcc
build   header  gcc stdio.h       libc6-dev
build   command cmake             cmake
build   command make              make
build   command pkg-config        pkg-config
build   library libcjson          libcjson-dev
build   library zlib              zlib1g-dev
build   library libcrypto         libssl-dev
build   library openblas          libopenblas-dev
prepare library libjpeg           libjpeg62-turbo-dev
prepare library libpng            libpng-dev
prepare library libwebp           libwebp-dev
prepare library libwebpdemux      libwebp-dev
prepare library libpcre2-8        libpcre2-dev
prepare library libutf8proc       libutf8proc-dev
test    command g++               g++
test    command clang             clang
test    header  clang omp.h       libomp-dev
test    runtime asan              libclang-rt-dev
test    library cmocka            libcmocka-dev
wish    command clang-format-14   clang-format-14
'

# is_there KIND WORD...
is_there() {
    case $1 in
    command) command -v "$2" >/dev/null ;;
    library) pkg-config --exists "$2" 2>/dev/null ;;
    header) echo "#include <$3>" | "$2" -E -x c - >/dev/null 2>&1 ;;
    runtime) [ -e "$(clang -print-file-name="libclang_rt.$2-$(uname -m).a" 2>&1)" ] ;;
    esac
}

# missing PURPOSE... - the packages for them that are not installed, on one line.
missing() {
    echo "$needs" | while read -r purpose kind word more; do
        case " $* " in *" ${purpose:-none} "*) ;; *) continue ;; esac
        # The package is the last word; what comes before it are the arguments.
        # shellcheck disable=SC2086
        is_there "$kind" "$word" ${more% *} || echo "${more##* }"
    done | awk '!seen[$0]++ { printf " %s", $0 }'
}

# The packages of wishes that are missing and that this system offers.
granted() {
    for package in $(missing wish); do
        apt-cache show "$package" >/dev/null 2>&1 && printf ' %s' "$package"
    done
}

case ${1:-} in
unprepared) purposes=build wishes= ;;
build) purposes='build prepare' wishes= ;;
test) purposes='build prepare test' wishes=granted ;;
*)
    echo "usage: sh tests/install.sh unprepared|build|test" >&2
    exit 2
    ;;
esac

# shellcheck disable=SC2086
packages=$(missing $purposes)
command='apt-get install --yes --no-install-recommends'
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    [ -z "$packages" ] && exit 0
    echo "install.sh: missing:$packages" >&2
    echo "install.sh: as root on Debian 12 or 13:  $command$packages$($wishes)" >&2
    exit 1
fi
[ -z "$packages$($wishes)" ] && exit 0

log=$(mktemp)
trap 'rm -f "$log"' EXIT
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
apt-get update >"$log" 2>&1 </dev/null
packages=$packages$($wishes)
echo "installing:$packages"
# shellcheck disable=SC2086
if ! $command $packages >>"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "install.sh: failed:  $command$packages" >&2
    exit 1
fi
# shellcheck disable=SC2086
packages=$(missing $purposes)
[ -z "$packages" ] && exit 0
echo "install.sh: installed, but still not found:$packages" >&2
exit 1
