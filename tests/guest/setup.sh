#!/usr/bin/env bash
# setup.sh [FOLDER]: what boots Linux guests with an e1000, unpacked under FOLDER: by default $FASTRING_GUEST_ROOT, or
# ~/.cache/fastring/guest. Some 200 MB to fetch, no root needed.
#   FOLDER/bookworm, FOLDER/forky   `vmlinuz` and the network modules of each Debian's kernel
#   FOLDER/initramfs                busybox, ethtool and iperf3 with their libraries, to which tests add their /init
# The QEMU is the one that tests/oracle/qemu.sh fetches. Again is harmless; a newer version of this script unpacks again.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/../shared/unpack.sh"

folder=${1:-${FASTRING_GUEST_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/fastring/guest}}
made_by=$(cat "${BASH_SOURCE[0]}" "$here/../shared/unpack.sh" | sha256sum)
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
exec 9> "$folder/lock"
flock 9

made() { [ "$(cat "$folder/$1/.made-by" 2> /dev/null)" = "$made_by" ]; }

# kernel SUITE: its newest kernel, and the modules that guests load.
kernel() {
    local apt=$folder/$1.apt to=$folder/$1 image package module file
    made "$1" && return
    echo "setup.sh: fetching the kernel of Debian $1" >&2
    an_apt "$apt" "$1"
    image=$(apt-cache "${apt_options[@]}" depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\).*/\1/p' | head -n 1)
    (cd "$apt" && for package in "$image" $(apt-cache "${apt_options[@]}" depends "$image" | sed -n 's/.*Depends: \(linux-\(modules\|binary\)-[^ ]*\).*/\1/p'); do
        apt-get -qq "${apt_options[@]}" download "$package" > /dev/null
    done)
    for package in "$apt"/*.deb; do
        dpkg-deb -x "$package" "$apt/x"
    done
    rm -rf "$to"
    mkdir -p "$to"
    cp "$(find "$apt/x" -name 'vmlinuz*' -type f | head -n 1)" "$to/vmlinuz"
    for module in e1000 8021q garp mrp stp llc; do
        file=$(find "$apt/x" -name "$module.ko*" | head -n 1)
        case $file in
            *.xz) xz -dc "$file" > "$to/$module.ko" ;;
            *.zst) zstd -qdc "$file" > "$to/$module.ko" ;;
            *.ko) cp "$file" "$to/$module.ko" ;;
        esac
    done
    rm -rf "$apt"
    echo "$made_by" > "$to/.made-by"
}

# initramfs: the programs and, from the same Debian, the libraries they ask for.
initramfs() {
    local root=$folder/root fs=$folder/initramfs lib=lib/x86_64-linux-gnu program library applet
    made initramfs && return
    echo "setup.sh: fetching busybox, ethtool and iperf3" >&2
    unpack_with_all forky "$root" busybox-static ethtool iperf3
    rm -rf "$fs"
    mkdir -p "$fs"/{bin,proc,sys,dev,tmp,root,run,lib64,$lib}
    cp "$root/usr/bin/busybox" "$fs/bin/"
    for applet in $("$root/usr/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$fs/bin/$applet"
    done
    cp "$(find "$root/usr" -name ethtool -type f -perm -u+x | head -n 1)" "$(find "$root/usr/bin" -name iperf3)" "$fs/bin/"
    cp -L "$root/usr/lib64/ld-linux-x86-64.so.2" "$fs/lib64/"
    for program in ethtool iperf3; do
        "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/$lib" --list "$fs/bin/$program" | grep -o "$root/[^ ]*" | while read -r library; do
            cp -Ln "$library" "$fs/$lib/" || true
        done
    done
    cp -L "$root/usr/$lib/libgcc_s.so.1" "$fs/$lib/"        # for pthread_cancel, when asked for
    rm -rf "$root"
    echo "$made_by" > "$fs/.made-by"
}

kernel bookworm
kernel forky
initramfs
echo "$folder"
