#!/usr/bin/env bash
# free_threaded.sh [FOLDER]: a CPython without a GIL, built under FOLDER in about three minutes and 110 MB; prints its path. By default FOLDER
# is $FASTRING_FREE_THREADED_ROOT, or ~/.cache/fastring/free-threaded.
# Debian has no package of one, nor has PyPI, so it is built of Debian's source package of Python 3.13: forky's, or trixie's, which stays longer.
# Needs no root, but a compiler and the headers named below. Again is harmless; a newer version of this script builds again.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/../shared/unpack.sh"

folder=${1:-${FASTRING_FREE_THREADED_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/fastring/free-threaded}}
made_by=$(cat "${BASH_SOURCE[0]}" "$here/../shared/unpack.sh" | sha256sum)
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
exec 9> "$folder/lock"
flock 9

# What ctypes, ssl (without it pip reaches no index) and zlib (which opens wheels) are compiled with.
check_headers() {
    printf '#include <%s>\n' ffi.h openssl/ssl.h zlib.h | gcc -fsyntax-only -x c - 2> /dev/null && command -v make xz > /dev/null || {
        echo "free_threaded.sh: apt-get install gcc make xz-utils libffi-dev libssl-dev zlib1g-dev" >&2
        exit 1
    }
}

# fetch SUITE: the source as its authors released it, whose hash apt has checked.
fetch() {
    echo "free_threaded.sh: fetching the source of Debian $1's python3.13" >&2
    rm -rf "$folder/source"
    mkdir -p "$folder/source"
    an_apt "$folder/apt" "$1"
    sed -n 's/^deb /deb-src /p' "$folder/apt/sources.list" > "$folder/apt/sources"
    mv "$folder/apt/sources" "$folder/apt/sources.list"
    apt-get -qq "${apt_options[@]}" update
    (cd "$folder/source" && apt-get -qq "${apt_options[@]}" source --download-only --only-source python3.13 > /dev/null) || return
    tar -xf "$folder"/source/python3.13_*.orig.tar.xz -C "$folder/source" --strip-components=1
}

build() (
    echo "free_threaded.sh: building it in $folder" >&2
    cd "$folder/source"
    rm -rf "$folder/python"
    {
        ./configure -q --prefix="$folder/python" --disable-gil --disable-test-modules --without-static-libpython --with-ensurepip=no &&
            nice make -s -j"$(nproc)" && make -s install
    } > "$folder/build.log" 2>&1 || { tail -n 40 "$folder/build.log" >&2; exit 1; }
)

if [ "$(cat "$folder/.made-by" 2> /dev/null)" != "$made_by" ]; then
    check_headers
    fetch forky || fetch trixie
    build
    "$folder/python/bin/python3.13t" -c 'import ctypes, ssl, sys, zlib; assert not sys._is_gil_enabled()'
    rm -rf "$folder/apt" "$folder/source"
    echo "$made_by" > "$folder/.made-by"
fi
echo "$folder/python/bin/python3.13t"
