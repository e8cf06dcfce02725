#!/bin/sh
# outside.sh - BUILD_FOLDER: the library as other programs use it, installed to a
# temporary prefix.
#
# Each header compiles by itself and defines only macros that begin with LVLM_; the
# symbols are the functions of the headers. caption.c is built in C and in C++, with the
# shared and the static library, by pkg-config and by find_package, and answers like
# lvlm-run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix
cmake --install "$1" --prefix "$prefix" >"$scratch/log"
cd "$scratch"
cp "$here/caption.c" caption.c
cp "$here/caption.c" caption.cpp
: "${CC:=cc}" "${CXX:=c++}" "${CFLAGS:=}"
pc=$(find "$prefix" -name lvlm.pc)
PKG_CONFIG_PATH=${pc%/*}
export PKG_CONFIG_PATH
include=$(pkg-config --cflags lvlm)
libraries=${pc%/pkgconfig/*}
strict='-Wall -Wextra -pedantic -Wshadow -Wno-missing-field-initializers -Werror'

# wrong WHAT... - prints it and exits.
wrong() {
    echo "$*"
    exit 1
}

# Flags are lists of words; CFLAGS carries the sanitizers of the build.
# shellcheck disable=SC2086
check_headers() {
    find "$prefix/include" -name '*.h' >headers
    [ "$(wc -l <headers)" -le 6 ] || wrong 'more headers than a handful'
    while read -r header; do
        printf '#include "%s"\nextern int a_declaration;\n' "$header" >alone.c
        cp alone.c alone.cpp
        "$CC" -std=c11 $strict $include -fsyntax-only alone.c
        "$CXX" -std=c++11 $strict $include -fsyntax-only alone.cpp
    done <headers
    xargs grep -hE '^ *# *define' <headers | awk '$2 !~ /^LVLM_/' >macros
    [ ! -s macros ] || wrong "a macro of ours: $(cat macros)"
}

# The functions of the headers: the first name after LVLM_API that begins with lvlm_ and
# is followed by a parenthesis.
check_symbols() {
    xargs cat <headers | tr '\n' ' ' | sed 's/LVLM_API /\n&/g' |
        sed -n 's/^LVLM_API [^(]*\<\(lvlm_[a-z_]*\)(.*/\1/p' | sort >declared
    nm -D --defined-only "$libraries/liblvlm.so" | awk '{ print $3 }' | sort >shared
    nm -g --defined-only "$libraries/liblvlm.a" | awk 'NF == 3 { print $3 }' |
        sort >static
    cmp declared shared && cmp declared static || {
        diff declared shared
        diff declared static
        wrong 'other names than those of the headers'
    }
    version=$(pkg-config --modversion lvlm)
    readelf -dW "$libraries/liblvlm.so" >dynamic
    grep -q "SONAME.*liblvlm.so.${version%.*}\]" dynamic ||
        wrong 'the name that programs ask for is not that of the version'
}

# answers PROGRAM [FIXTURE IMAGE PROMPT] - prints the same as lvlm-run or, in a build
# without prepare/, refuses.
answers() {
    status=0
    image=$FIXTURES/images/${3:-jpeg-photo.jpg}
    prompt=${4:-caption en}
    LD_LIBRARY_PATH=$libraries "./$1" "$FIXTURES/prompts/${2:-paligemma}/model" \
        model.lvlm "$image" "$prompt" >said 2>log || status=$?
    if [ "$prepared" = no ]; then
        [ "$status" = 2 ] && grep -q LVLM_PREPARE log && return
    elif [ "$status" = 0 ]; then
        "$prefix/bin/lvlm-run" generate model.lvlm --prompt "$prompt" --quiet \
            --max-new-tokens 8 --image "$image" >expected
        head -n 1 said | cmp - expected && return
    fi
    cat said log
    wrong "$1: exit status $status, or another answer"
}

# shellcheck disable=SC2086
with_pkg_config() {
    flags=$(pkg-config --cflags --libs lvlm)
    "$CC" -std=c11 $strict $CFLAGS -o c_program caption.c $flags
    "$CXX" -std=c++17 $strict $CFLAGS -o cpp_program caption.cpp $flags
    flags=$(pkg-config --cflags --libs lvlm-static)
    "$CC" -std=c11 $strict $CFLAGS -o c_static caption.c $flags
    "$CXX" -std=c++17 $strict $CFLAGS -o cpp_static caption.cpp $flags
    "$CC" -shared $CFLAGS -o libother.so -Wl,--whole-archive "$libraries/liblvlm.a" \
        -Wl,--no-whole-archive $flags
    for program in c_program cpp_program c_static cpp_static; do answers $program; done
    answers c_static llava png-rgba.png Hello # as trained, without alpha
}

with_find_package() {
    cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.22)
project(outside C CXX)
find_package(lvlm 0.1 REQUIRED)
foreach(kind lvlm static)
    foreach(language c cpp)
        add_executable(${language}_${kind} caption.${language})
        target_link_libraries(${language}_${kind} PRIVATE lvlm::${kind})
    endforeach()
endforeach()
END
    cmake -S . -B build -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$CC" \
        -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_C_FLAGS="$CFLAGS" \
        -DCMAKE_CXX_FLAGS="$CFLAGS" >log 2>&1 &&
        cmake --build build >log 2>&1 || {
        cat log
        return 1
    }
    for program in c_lvlm cpp_lvlm c_static cpp_static; do answers build/$program; done
}

prepared=yes
grep -q libpng "${pc%.pc}-static.pc" || prepared=no
check_headers
check_symbols
with_pkg_config
with_find_package
"$prefix/bin/lvlm-convert" --version
