#!/usr/bin/env bash
# One door to everything: ./build.sh help says what there is.
# Each step installs what it lacks, so that a fresh Debian or Ubuntu needs nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

WASM_TARGET=wasm32-unknown-unknown
TOOLS=$PWD/target/tools
say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

# --- what has to be there ------------------------------------------------------------------------------------------

# apt_install PACKAGE...: installs Debian packages, as root or by sudo.
apt_install() {
    command -v apt-get >/dev/null || fail "these are missing and apt-get is not here to install them: $*"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "these have to be installed as root: $*"
        as_root=(sudo)
    fi
    say "Installing $*"
    if [ -z "${APT_UPDATED:-}" ]; then
        "${as_root[@]}" apt-get update -qq
        APT_UPDATED=1
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need COMMAND PACKAGE...: installs the packages if the command is missing.
need() {
    local tool=$1
    shift
    command -v "$tool" >/dev/null || apt_install "$@"
}

rust_at_least() { # rust_at_least RUSTC: whether it is as new as Cargo.toml's rust-version
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$("$1" --version 2>/dev/null | awk '{print $2}') || return 1
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}

# in_apt PACKAGE: whether this release of Debian or Ubuntu has it.
in_apt() {
    command -v apt-get >/dev/null || return 1
    # Before the first update apt knows of no package.
    apt-cache show "$1" >/dev/null 2>&1 || { apt_install ca-certificates && apt-cache show "$1" >/dev/null 2>&1; }
}

# Sets CARGO. An own recent Rust is taken; else Debian's rustc-web (a current compiler on every release), else rustup.
need_rust() {
    [ -n "${CARGO:-}" ] && return
    need cc gcc libc6-dev
    # Without them the registries' certificates cannot be checked.
    [ -e /etc/ssl/certs/ca-certificates.crt ] || apt_install ca-certificates
    [ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH
    if command -v cargo >/dev/null && rust_at_least rustc; then
        CARGO=cargo
        return
    fi
    if [ -x /usr/bin/cargo ] && rust_at_least /usr/bin/rustc || { in_apt rustc-web && apt_install cargo-web rustc-web rust-web-src; }; then
        CARGO=/usr/bin/cargo
        export RUSTC=/usr/bin/rustc
    else
        need rustup rustup
        rustup toolchain install stable --profile minimal --component clippy --component rustfmt
        PATH=$HOME/.cargo/bin:$PATH
        CARGO=cargo
    fi
    rust_at_least "${RUSTC:-rustc}" ||
        fail "Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer is needed; install it from https://rustup.rs"
}

need_lints() {
    $CARGO fmt --version >/dev/null 2>&1 || rustup component add rustfmt 2>/dev/null || apt_install rustfmt-web
    $CARGO clippy --version >/dev/null 2>&1 || rustup component add clippy 2>/dev/null || apt_install rust-web-clippy
}

# A compiler and the source of its standard library: std as it is shipped for wasm has no threads, so it is built anew.
need_wasm_target() {
    [ -n "${WASM_CARGO:-}" ] && return
    need_rust
    has_std_source "${RUSTC:-rustc}" ||
        { command -v rustup >/dev/null && timeout 120 rustup component add rust-src >/dev/null 2>&1; } || true
    if has_std_source "${RUSTC:-rustc}"; then
        WASM_CARGO=$CARGO
        WASM_RUSTC=${RUSTC:-rustc}
    else
        apt_install rustc-web cargo-web rust-web-src
        WASM_CARGO=/usr/bin/cargo
        WASM_RUSTC=/usr/bin/rustc
    fi
    # Debian's compiler comes without a linker for wasm.
    if [ "$(command -v "$WASM_RUSTC")" = /usr/bin/rustc ]; then
        local llvm
        llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
        command -v rust-lld >/dev/null || [ -x "/usr/bin/lld-$llvm" ] || apt_install rust-web-llvm "lld-$llvm"
    fi
}

has_std_source() { # has_std_source RUSTC
    [ -f "$("$1" --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]
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
        # Without its own lock file where a registry lacks one of the locked versions.
        $CARGO install --quiet --locked --root "$TOOLS" wasm-bindgen-cli --bin wasm-bindgen --version "$version" ||
            $CARGO install --quiet --root "$TOOLS" wasm-bindgen-cli --bin wasm-bindgen --version "$version"
    fi
}

need_node() {
    if ! command -v node >/dev/null || [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 18 ]; then
        apt_install nodejs npm
    fi
    need npm npm
    if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
        say "Installing the JavaScript development tools"
        npm ci --silent --no-audit --no-fund
    fi
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

# The service worker caches by a version made of all that it serves.
finish_dist() {
    local version
    version=$(find dist -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-16)
    if [ -f dist/www/sw.js ]; then
        sed "s/BUILD_VERSION/$version/g" dist/www/sw.js >dist/sw.js
        rm dist/www/sw.js
    fi
}

run() {
    local port=${1:-8080}
    build
    need python3 python3
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
    need chromium chromium
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
    build
    need_node
    need chromium chromium
    node tests/browser/bench.mjs "$@"
}

fullsize() {
    [ $# -gt 0 ] || fail "fullsize: give the folder of a bundle, e.g. models/zegformer-r101"
    build
    need_node
    need chromium chromium
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
