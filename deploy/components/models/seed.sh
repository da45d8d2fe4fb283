#!/bin/sh
# Copies every version of every model that TO lacks: seed.sh FROM TO. A version appears whole or not at all; one that is there stays.
set -eu

for folder in "$1"/*/*; do
    model=$2/$(basename "$(dirname "$folder")")
    version=$(basename "$folder")
    [ ! -e "$model/$version" ] || continue
    mkdir -p "$model"
    # A name that nobody takes for a version, left over where an earlier pod was killed.
    rm -rf "$model/.publishing-seed-$version"
    cp -r "$folder" "$model/.publishing-seed-$version"
    mv -T "$model/.publishing-seed-$version" "$model/$version"
done
