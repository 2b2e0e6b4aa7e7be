# Sourced: Debian packages of any suite unpacked into a folder, without root. Needs apt and Debian's keys (debian-archive-keyring);
# packages come from the mirror of this machine's apt.

mirror() {
    apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Identifier: Packages' 2> /dev/null | awk -F'|' '$1 == "Debian" && !seen++ { print $2 }'
}

# an_apt FOLDER SUITE: an apt in FOLDER that knows of nothing installed, with the lists of SUITE; its options are in $apt_options then.
an_apt() {
    local from
    from=$(mirror)
    rm -rf "$1"
    mkdir -p "$1"/{state/lists/partial,cache/archives/partial,none}
    : > "$1/status"
    echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${from:-http://deb.debian.org/debian} $2 main" > "$1/sources.list"
    apt_options=(
        -o Dir::State="$1/state" -o Dir::State::status="$1/status" -o Dir::Cache="$1/cache" -o APT::Architecture=amd64
        -o Dir::Etc::sourcelist="$1/sources.list" -o Dir::Etc::sourceparts="$1/none" -o Dir::Etc::preferencesparts="$1/none"
        -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=false -o Acquire::Retries=3
    )
    apt-get -qq "${apt_options[@]}" update
}

# unpack_with_all SUITE ROOT PACKAGE...: the packages and what they need, down to libc.
unpack_with_all() {
    local suite=$1 root=$2 apt=$2.apt package
    an_apt "$apt" "$suite"
    apt-get -qq "${apt_options[@]}" --yes --download-only install "${@:3}" > /dev/null
    rm -rf "$root"
    mkdir -p "$root"
    for package in "$apt"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    rm -rf "$apt" "$root"/usr/share/{doc,man,locale}
}
