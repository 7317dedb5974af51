#!/bin/sh
# Brings each crate that has a folder here from crates.io (by cargo, against the checksums in Cargo.lock) to vendor/ and
# patches it. Run from anywhere; takes a moment when nothing changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
vendor=$(cd "$here/.." && pwd)/vendor
fail() { echo "patches/vendor.sh: $*" >&2; exit 1; }

# Where cargo keeps the sources of a crate, by the Cargo.lock in its own folder or here.
source_of() {
    manifest=$here/Cargo.toml
    [ ! -f "$here/$1/Cargo.toml" ] || manifest=$here/$1/Cargo.toml
    "${CARGO:-cargo}" metadata --quiet --locked --format-version 1 --manifest-path "$manifest" --filter-platform x86_64-unknown-linux-gnu |
        tr ',' '\n' | sed -n 's/^"manifest_path":"\(.*\)\/Cargo\.toml"$/\1/p' | grep "/$1-[0-9][0-9.]*$" | head -n 1
}

for folder in "$here"/*/; do
    crate=$(basename "$folder")
    target=$vendor/$crate
    wanted=$(cat "$folder"*.patch "$here/Cargo.lock" "$folder"Cargo.lock "$here/vendor.sh" 2>/dev/null | sha256sum | cut -d ' ' -f 1)
    [ "$(cat "$target/.patched" 2>/dev/null || true)" != "$wanted" ] || continue
    source=$(source_of "$crate")
    [ -n "$source" ] || fail "cargo did not say where $crate is"
    rm -rf "$target.new"
    mkdir -p "$target.new"
    cp -R "$source/." "$target.new/"
    rm -f "$target.new/Cargo.lock"
    for patch in "$folder"*.patch; do
        patch --batch --fuzz=0 --strip=1 --silent --directory="$target.new" <"$patch" ||
            fail "$crate/$(basename "$patch") does not apply to $(basename "$source")"
    done
    echo "$wanted" >"$target.new/.patched"
    rm -rf "$target"
    mv "$target.new" "$target"
done
