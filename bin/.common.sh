# shellcheck shell=sh
# What the scripts beside this one share; they set `root`, the folder of the project, before they read it.
: "${root:?}"

# Says something to the one who called, without disturbing what a program prints.
say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

# Ends with what to do when there is no Swift.
require_swift() {
    command -v swift >/dev/null 2>&1 && return
    fail "swift is not on the PATH. Install the toolchain (6.3 or newer), see https://www.swift.org/install/linux, and try again."
}

# Debian packages as arguments: installs them as root, else says how to.
install_packages() {
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        say "These packages are missing: $*"
        say "Install them (the names are Debian's) and try again:"
        fail "    sudo apt-get update && sudo apt-get install -y $*"
    fi
    say "installing $*"
    # The lists of a fresh image are empty; stale ones name files that are gone.
    apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are here"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 || fail "apt-get could not install $*"
}

has_library() { # pkg-config's name, header
    [ -e "/usr/include/$2" ] || { command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "$1"; }
}

# The libraries that the build links.
require_libraries() {
    missing=
    has_library zlib zlib.h || missing="$missing zlib1g-dev"
    has_library liblz4 lz4frame.h || missing="$missing liblz4-dev"
    has_library libzstd zstd.h || missing="$missing libzstd-dev"
    has_library sqlite3 sqlite3.h || missing="$missing libsqlite3-dev"
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] || install_packages $missing
}

release="$root/.build/release"

# Whether a program was built from the sources as they are now.
is_fresh() {
    stamp="$root/.build/built/$1"
    [ -x "$release/$1" ] && [ -e "$stamp" ] && [ -z "$(find "$root/Package.swift" "$root/Sources" -newer "$stamp" -print -quit)" ]
}

# Builds a program for release unless it is fresh. One script at a time: the others wait for it.
build() {
    is_fresh "$1" && return
    require_swift
    mkdir -p "$root/.build/built"
    (
        flock -n 9 || {
            say "waiting for another build to end"
            flock 9
        }
        is_fresh "$1" && exit 0
        require_libraries
        if [ -x "$release/$1" ]; then say "building $1: its sources have changed"; else say "building $1; the first time takes some minutes"; fi
        # The stamp is as old as the start of the build: what is changed while it runs counts as newer.
        touch "$root/.build/built/.$1"
        log="$root/.build/built/$1.log"
        if ! swift build --package-path "$root" -c release --static-swift-stdlib --product "$1" >"$log" 2>&1; then
            grep -E 'error:|warning:' "$log" | sort -u | head -n 40 >&2
            fail "$1 could not be built; all that the build said is in $log"
        fi
        mv "$root/.build/built/.$1" "$root/.build/built/$1"
    ) 9>"$root/.build/built/.lock"
}

# Runs a program in place of this script.
run() {
    program=$1
    shift
    build "$program"
    exec "$release/$program" "$@"
}
