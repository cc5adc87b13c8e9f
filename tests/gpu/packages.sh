#!/usr/bin/env bash
# For a machine without a network: unpacks the packages that check.sh builds with into a folder that can be taken there.
# Headers, GoogleTest's source and zlib's static library, so that they serve whatever system it runs. Wants Debian or
# Ubuntu.
#   tests/gpu/packages.sh FOLDER
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1/deb"
folder=$(realpath "$1")
(cd "$folder/deb" && apt-get download -qq libcli11-dev nlohmann-json3-dev googletest zlib1g-dev)
for package in "$folder"/deb/*.deb; do dpkg-deb -x "$package" "$folder"; done
mv "$folder"/usr/lib/*-linux-gnu/libz.a "$folder/usr/lib/"  # where CMake looks on every system
rm -r "$folder"/deb "$folder"/usr/lib/*-linux-gnu "$folder"/usr/share/{doc,man}
