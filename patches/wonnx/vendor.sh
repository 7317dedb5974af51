#!/bin/sh
# Brings wonnx 0.5.1 from crates.io (by cargo, against the checksum in Cargo.lock) to vendor/wonnx and patches it.
# Run from anywhere; takes a moment when nothing changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/vendor/wonnx
wanted=$(cat "$here"/*.patch "$here/Cargo.lock" "$here/vendor.sh" | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$target/.patched" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi
cargo=${CARGO:-cargo}
manifest=$("$cargo" metadata --locked --format-version 1 --manifest-path "$here/Cargo.toml" \
    --filter-platform x86_64-unknown-linux-gnu |
    tr ',' '\n' | sed -n 's/^"manifest_path":"\(.*\/wonnx-0\.5\.1\/Cargo\.toml\)"$/\1/p' | head -n 1)
if [ -z "$manifest" ]; then
    echo "patches/wonnx/vendor.sh: cargo did not say where wonnx 0.5.1 is" >&2
    exit 1
fi
rm -rf "$target.new"
mkdir -p "$target.new"
cp -R "$(dirname "$manifest")/." "$target.new/"
rm -f "$target.new/Cargo.lock"
for patch in "$here"/*.patch; do
    if ! patch --batch --fuzz=0 --strip=1 --silent --directory="$target.new" <"$patch"; then
        echo "patches/wonnx/vendor.sh: $(basename "$patch") does not apply to wonnx 0.5.1" >&2
        exit 1
    fi
done
echo "$wanted" >"$target.new/.patched"
rm -rf "$target"
mv "$target.new" "$target"
