#!/usr/bin/env bash
# qemu.sh [FOLDER]: the two QEMUs that the oracle asks, unpacked under FOLDER, in half a minute and 300 MB. By default it is
# $FASTRING_QEMU_ROOT, or ~/.cache/fastring/qemu.
#   FOLDER/stepped   Debian forky's: has the qtest accelerator, where time stands still until it is stepped
#   FOLDER/counting  Debian trixie's: the last whose e1000 keeps all statistics; no qtest accelerator
# Needs apt, Debian's keys (debian-archive-keyring) and an x86-64, but no root: each is run from its folder with its own libraries.
# Packages come from the Debian mirror of this machine's apt. Again is harmless; a newer version of this script unpacks again.
set -euo pipefail

folder=${1:-${FASTRING_QEMU_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/fastring/qemu}}
made_by=$(sha256sum < "${BASH_SOURCE[0]}")
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
exec 9> "$folder/lock"
flock 9

mirror() {
    apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Identifier: Packages' 2> /dev/null | awk -F'|' '$1 == "Debian" && !seen++ { print $2 }'
}

# unpack NAME SUITE: what qemu-system-x86 of SUITE needs, down to libc, fetched with an apt that knows of nothing installed.
unpack() {
    local root=$folder/$1 apt=$folder/$1.apt from
    [ "$(cat "$root/.made-by" 2> /dev/null)" != "$made_by" ] || return 0
    from=$(mirror)
    rm -rf "$root" "$apt"
    mkdir -p "$root" "$apt"/{state/lists/partial,cache/archives/partial,none}
    : > "$apt/status"
    echo "qemu.sh: fetching QEMU of Debian $2 into $root" >&2
    echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${from:-http://deb.debian.org/debian} $2 main" > "$apt/sources.list"
    local options=(
        -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" -o APT::Architecture=amd64
        -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/none" -o Dir::Etc::preferencesparts="$apt/none"
        -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=false -o Acquire::Retries=3
    )
    apt-get -qq "${options[@]}" update
    apt-get -qq "${options[@]}" --yes --download-only install qemu-system-x86 > /dev/null
    for package in "$apt"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    rm -rf "$apt" "$root"/usr/share/{doc,man,locale}
    echo "$made_by" > "$root/.made-by"
}

unpack stepped forky
unpack counting trixie
echo "$folder"
