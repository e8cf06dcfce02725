#!/bin/sh
# install.sh - installs what is missing of the tools and libraries (Debian's packages).
#
#   sh tests/install.sh build     what building the programs needs
#   sh tests/install.sh test      that, and what the tests need
#
# Looks before it installs, and is quiet when there is nothing to do. Only root can
# install; for anyone else it prints the command. Exit 1 when something stays missing.
set -u

# What for, how to see that it is there, the package. omp.h: threads with clang.
needs='
build  command gcc               gcc
build  header  gcc stdio.h       libc6-dev
build  command cmake             cmake
build  command make              make
build  command pkg-config        pkg-config
build  library libcjson          libcjson-dev
build  library zlib              zlib1g-dev
build  library libcrypto         libssl-dev
build  library openblas          libopenblas-dev
build  library libjpeg           libjpeg62-turbo-dev
build  library libpng            libpng-dev
build  library libwebp           libwebp-dev
build  library libwebpdemux      libwebp-dev
build  library libpcre2-8        libpcre2-dev
build  library libutf8proc       libutf8proc-dev
test   command clang             clang
test   header  clang omp.h       libomp-dev
test   runtime asan              libclang-rt-14-dev
test   command clang-format      clang-format
test   library cmocka            libcmocka-dev
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

# The packages for `$1`, build or test, that are not there: one line.
missing() {
    echo "$needs" | while read -r purpose kind word more; do
        case $purpose in '' ) continue ;; test) [ "$1" = test ] || continue ;; esac
        # The package is the last word; what comes before it are the arguments.
        # shellcheck disable=SC2086
        is_there "$kind" "$word" ${more% *} || printf ' %s' "${more##* }"
    done
}

case ${1:-} in
build | test) ;;
*)
    echo "usage: sh tests/install.sh build|test" >&2
    exit 2
    ;;
esac

packages=$(missing "$1")
[ -z "$packages" ] && exit 0
install="apt-get install --yes --no-install-recommends$packages"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "install.sh: missing:$packages" >&2
    echo "install.sh: as root on Debian 12:  $install" >&2
    exit 1
fi

echo "installing:$packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
if ! { apt-get update && $install; } >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "install.sh: failed:  $install" >&2
    exit 1
fi
packages=$(missing "$1")
[ -z "$packages" ] && exit 0
echo "install.sh: installed, but still not found:$packages" >&2
exit 1
