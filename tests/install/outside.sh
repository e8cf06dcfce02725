#!/bin/sh
# outside.sh - BUILD_FOLDER: installs to a temporary prefix. A C and a C++ program that
# use only pkg-config compile, link and run there, then the same with only find_package,
# and the archives are linked to a shared object.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix
cmake --install "$1" --prefix "$prefix" >"$scratch/log"
cd "$scratch"
cp "$here/outside.c" outside.c
cp "$here/outside.c" outside.cpp
: "${CC:=cc}" "${CXX:=c++}" "${CFLAGS:=}"
pc=$(find "$prefix" -name lvlm.pc)

# Flags are lists of words; CFLAGS carries the sanitizers of the build.
# shellcheck disable=SC2086
with_pkg_config() {
    flags=$(PKG_CONFIG_PATH=${pc%/*} pkg-config --cflags --libs lvlm)
    "$CC" -std=c11 -Wall -Werror $CFLAGS -o c_program outside.c $flags
    "$CXX" -std=c++17 -Wall -Werror $CFLAGS -o cpp_program outside.cpp $flags
    archives=$(find "$prefix" -name 'liblvlm_*.a')
    "$CC" -shared $CFLAGS -o liboutside.so -Wl,--whole-archive $archives \
        -Wl,--no-whole-archive $flags
    ./c_program
    ./cpp_program
}

with_find_package() {
    cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.22)
project(outside C CXX)
find_package(lvlm 0.1 REQUIRED)
add_executable(c_program outside.c)
target_link_libraries(c_program PRIVATE lvlm::lvlm)
add_executable(cpp_program outside.cpp)
target_link_libraries(cpp_program PRIVATE lvlm::lvlm)
END
    cmake -S . -B build -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$CC" \
        -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_C_FLAGS="$CFLAGS" \
        -DCMAKE_CXX_FLAGS="$CFLAGS" >log 2>&1 &&
        cmake --build build >log 2>&1 || {
        cat log
        return 1
    }
    build/c_program
    build/cpp_program
}

with_pkg_config
with_find_package
"$prefix/bin/lvlm-convert" --version
