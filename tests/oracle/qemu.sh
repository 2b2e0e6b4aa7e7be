#!/usr/bin/env bash
# qemu.sh [FOLDER]: the two QEMUs that the oracle asks, unpacked under FOLDER, in half a minute and 300 MB. By default it is
# $FASTRING_QEMU_ROOT, or ~/.cache/fastring/qemu.
#   FOLDER/stepped   Debian forky's: has the qtest accelerator, where time stands still until it is stepped
#   FOLDER/counting  Debian trixie's: the last whose e1000 keeps all statistics; no qtest accelerator
# Needs an x86-64, but no root: each is run from its folder with its own libraries. Again is harmless; a newer version of this script
# unpacks again.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/../shared/unpack.sh"

folder=${1:-${FASTRING_QEMU_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/fastring/qemu}}
made_by=$(cat "${BASH_SOURCE[0]}" "$here/../shared/unpack.sh" | sha256sum)
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
exec 9> "$folder/lock"
flock 9

# unpack NAME SUITE
unpack() {
    local root=$folder/$1
    [ "$(cat "$root/.made-by" 2> /dev/null)" != "$made_by" ] || return 0
    echo "qemu.sh: fetching QEMU of Debian $2 into $root" >&2
    unpack_with_all "$2" "$root" qemu-system-x86
    echo "$made_by" > "$root/.made-by"
}

unpack stepped forky
unpack counting trixie
echo "$folder"
