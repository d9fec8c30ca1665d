#!/usr/bin/env bash
# Gets everything the lab needs: Debian packages, the Kubernetes programs built from Go modules, a
# real MySQL (as an image and runnable on this machine), and a pause program; what a policy in C is
# built with; and the tool that opens an encrypted backup by hand. `setup.sh opa` gets only the policy server that the bench compares with, and prints
# where it is.
#
# Run it as often as you like: what is there already is left alone. It writes to $GRAMPUS_CACHE and
# installs packages; it must never start a service, and never leaves a half-built result in place.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${GRAMPUS_CACHE:-$HOME/.cache/grampus}
kubernetes_version=v1.34.4
mysql_tag=grampus.dev/lab/mysql:9.7
# As guest-sdk pins the library: both read the contract in the same way.
wit_bindgen_version=0.61.1
export DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin

say() { printf '%s\n' "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

# ---------------------------------------------------------------- packages

# Each line: a file that shows the package is installed, and the package.
wanted_packages='
/usr/bin/containerd        containerd
/usr/bin/ctr               containerd
/usr/sbin/runc             runc
/usr/lib/cni/ptp           containernetworking-plugins
/usr/lib/cni/host-local    containernetworking-plugins
/usr/sbin/ip               iproute2
/usr/sbin/nft              nftables
/usr/sbin/iptables         iptables
/usr/sbin/conntrack        conntrack
/usr/sbin/ethtool          ethtool
/usr/bin/nsenter           util-linux
/usr/sbin/mkfs.ext4        e2fsprogs
/usr/sbin/fsfreeze         util-linux
/usr/bin/musl-gcc          musl-tools
/usr/bin/mmdebstrap        mmdebstrap
/usr/bin/patchelf          patchelf
/usr/bin/clang             clang
/usr/bin/age               age
/usr/bin/zstd              zstd
/usr/bin/wasm-ld           lld
/usr/include/wasm32-wasi   wasi-libc
'

packages() {
    local missing=()
    while read -r file package; do
        if [[ -n $file && ! -e $file ]]; then missing+=("$package"); fi
    done <<<"$wanted_packages"
    if ((${#missing[@]} == 0)); then return; fi
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    [[ $(id -u) == 0 ]] || fail "needs root to install: ${missing[*]}"
    say "installing packages: ${missing[*]}"
    without_services apt_install "${missing[@]}"
}

apt_install() {
    apt-get update -qq >/dev/null
    apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# Debian starts the services of a new package unless this file says no. The lab runs its own
# containerd, one per node, and none for the machine.
without_services() {
    local policy=/usr/sbin/policy-rc.d
    if [[ -e $policy ]]; then "$@"; return; fi
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    local result=0
    "$@" || result=$?
    rm -f $policy
    return $result
}

# ---------------------------------------------------------------- Go programs

# The library computes the same name (paths.rs), so a changed go.sum is never served an old binary.
programs_directory() {
    local go=$here/go
    printf '%s/bin-k8s/%s' "$cache" "$(cat \
        "$go"/{coredns,etcd,kubernetes}/go.mod "$go"/{coredns,etcd,kubernetes}/go.sum |
        sha256sum | cut -c1-16)"
}

go_build() { # MODULE OUTPUT PACKAGE...
    local module=$1 output=$2 flags='-s -w'
    shift 2
    if [[ $module == kubernetes ]]; then
        local version=k8s.io/component-base/version
        flags+=" -X $version.gitVersion=$kubernetes_version"
        flags+=" -X $version.gitMajor=1 -X $version.gitMinor=34"
    fi
    (cd "$here/go/$module" &&
        CGO_ENABLED=0 nice go build -p 2 -trimpath -buildvcs=false -ldflags "$flags" -o "$output" "$@")
}

# Builds beside its place and then moves in, so an interrupted build is never taken for a good one.
build_into() { # MODULE FILE PACKAGE
    local directory=$1 module=$2 file=$3 package=$4
    if [[ -x $directory/$file ]]; then return; fi
    command -v go >/dev/null || fail "needs the Go toolchain (1.26 or newer) to build $file"
    local started=$SECONDS part=$directory/.part
    mkdir -p "$part"
    go_build "$module" "$part/$file" "$package"
    mv "$part/$file" "$directory/$file"
    say "built $file ($((SECONDS - started)) s)"
}

go_programs() {
    local directory file
    directory=$(programs_directory)
    mkdir -p "$directory"
    build_into "$directory" etcd etcd go.etcd.io/etcd/server/v3
    for file in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
        build_into "$directory" kubernetes $file k8s.io/kubernetes/cmd/$file
    done
    build_into "$directory" coredns coredns github.com/coredns/coredns
    if [[ ! -x $directory/pause ]]; then
        musl-gcc -static -Os -s -o "$directory/pause.part" "$here/pause.c"
        mv "$directory/pause.part" "$directory/pause"
    fi
    rm -rf "$directory/.part"
}

# A program in a directory of its own, whose name it prints: another version of it must not make anybody build Kubernetes
# again.
own_program() { # NAME MODULE FILE PACKAGE
    local directory
    directory=$cache/bin-$1/$(cat "$here/go/$2"/go.{mod,sum} | sha256sum | cut -c1-16)
    build_into "$directory" "$2" "$3" "$4"
    rm -rf "$directory/.part"
    printf '%s\n' "$directory/$3"
}

s3() { own_program s3 versitygw versitygw github.com/versity/versitygw/cmd/versitygw; }

# Only the bench needs it.
opa() { own_program opa opa opa github.com/open-policy-agent/opa; }

# Only whoever changes the chart needs it.
helm() { own_program helm helm helm helm.sh/helm/v4/cmd/helm; }

# ---------------------------------------------------------------- policies in C

# Makes C of the contract.
wit_bindgen() {
    local started=$SECONDS part=$cache/tools/.part tool=$cache/tools/wit-bindgen-$wit_bindgen_version
    if [[ ! -x $tool ]]; then
        command -v cargo >/dev/null || fail "needs cargo to build wit-bindgen"
        # It writes three small files: not worth the time of optimising.
        CARGO_TARGET_DIR=$part/target CARGO_PROFILE_DEV_DEBUG=0 nice cargo install --quiet --locked --debug --root "$part" \
            --no-default-features --features c "wit-bindgen-cli@$wit_bindgen_version"
        mv "$part/bin/wit-bindgen" "$tool"
        rm -rf "$part"
        say "built wit-bindgen ($((SECONDS - started)) s)"
    fi
    mkdir -p "$cache/tools/bin"
    ln -sfn "$tool" "$cache/tools/bin/wit-bindgen"
}

# ---------------------------------------------------------------- MySQL

# What no server needs at run time: it would only make the image slower to load on every node.
mysql_waste() {
    local root=$1
    rm -rf "$root"/usr/share/{doc,man,info,locale,i18n,lintian,bash-completion,common-licenses,perl,perl5,gcc}
    rm -rf "$root"/var/lib/{apt,dpkg} "$root"/var/cache/* "$root"/var/log/* "$root"/usr/lib/x86_64-linux-gnu/{perl,perl-base}
    rm -f "$root"/usr/bin/{perl*,myisam*,innochecksum,ibd2sdi,mysqlslap,mysqlimport,mysqlshow,mysqlcheck,mysql_*,perror,localedef}
    rm -f "$root"/usr/lib/mysql/plugin/{*_test*,authentication_*_client.so}
}

# uid 1001 is what the operator runs mysqld as; a name for it makes `ls` and `ps` readable.
mysql_user() {
    local root=$1
    sed -i '/^mysql:/d' "$root/etc/passwd" "$root/etc/group"
    echo 'mysql:x:1001:1001:MySQL:/var/lib/mysql:/usr/sbin/nologin' >>"$root/etc/passwd"
    echo 'mysql:x:1001:' >>"$root/etc/group"
    install -d -m 0750 -o 1001 -g 1001 "$root"/var/lib/{mysql,mysql-files} "$root/run/mysqld"
}

mysql_rootfs() {
    local root=$1
    mmdebstrap --quiet --variant=essential --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --include=mysql-server-core,mysql-client-core sid "$root"
    mysql_waste "$root"
    mysql_user "$root"
}

# A docker-archive: one layer, its configuration, and the manifest that names both.
mysql_image() {
    local root=$1 output=$2 work layer config
    work=$(mktemp -d "$cache/images/.pack.XXXXXX")
    tar -C "$root" --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' --numeric-owner \
        --sort=name --mtime=@0 -cf "$work/layer.tar" .
    layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
    cat >"$work/config" <<JSON
{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],"User":"1001:1001","Cmd":["mysqld"]},"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},"history":[{"created_by":"tests/lab/setup.sh"}]}
JSON
    config=$(sha256sum "$work/config" | cut -d' ' -f1)
    mv "$work/config" "$work/$config.json"
    printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$config" "$mysql_tag" \
        >"$work/manifest.json"
    tar -C "$work" --mtime=@0 -cf "$output.part" manifest.json "$config.json" layer.tar
    mv "$output.part" "$output"
    rm -rf "$work"
}

# The same server for tests without Kubernetes: its own loader and libraries are written into the
# programs, and mysqld finds plugins and messages relative to itself. Each wrapper execs, so the pid
# a caller started is mysqld's own.
mysql_for_this_machine() {
    local root=$1 program name
    mkdir -p "$cache/mysql/bin"
    for program in usr/sbin/mysqld usr/bin/{mysql,mysqladmin,mysqldump,mysqlbinlog}; do
        patchelf --set-interpreter "$root/usr/lib64/ld-linux-x86-64.so.2" --force-rpath \
            --set-rpath "$root/usr/lib/x86_64-linux-gnu:$root/usr/lib/mysql/private" "$root/$program"
        name=${program##*/}
        printf '#!/bin/sh\nexec "%s" "$@"\n' "$root/$program" >"$cache/mysql/bin/$name.part"
        chmod +x "$cache/mysql/bin/$name.part"
        mv "$cache/mysql/bin/$name.part" "$cache/mysql/bin/$name"
    done
}

mysql() {
    local recipe image=$cache/images/mysql-9.7.tar root=$cache/mysql-rootfs started=$SECONDS
    recipe=$(declare -f mysql_waste mysql_user mysql_rootfs mysql_image mysql_for_this_machine | sha256sum)
    if [[ -e $image && $(cat "$cache/mysql/recipe" 2>/dev/null) == "$recipe" ]]; then return; fi
    [[ $(id -u) == 0 ]] || fail "needs root to unpack MySQL with its owners"
    mkdir -p "$cache/images" "$cache/mysql"
    rm -rf "$root.new" "$cache"/images/.pack.*
    mysql_rootfs "$root.new"
    mysql_image "$root.new" "$image"
    rm -rf "$root.old"
    if [[ -e $root ]]; then mv "$root" "$root.old"; fi
    mv "$root.new" "$root"
    mysql_for_this_machine "$root"
    rm -rf "$root.old"
    printf '%s\n' "$recipe" >"$cache/mysql/recipe"
    say "unpacked MySQL into \$GRAMPUS_CACHE/mysql and packed its image ($((SECONDS - started)) s)"
}

# ----------------------------------------------------------------

[[ $(uname -s)/$(uname -m) == Linux/x86_64 ]] || fail "the lab runs on 64-bit x86 Linux only"
mkdir -p "$cache"
exec 9>"$cache/setup.lock"
flock 9
case ${1:-} in
    opa | helm)
        "$1" 9>&-
        exit
        ;;
esac
packages
wit_bindgen 9>&-
mysql 9>&-
go_programs 9>&-
s3 9>&- >/dev/null
say "everything is in place"
