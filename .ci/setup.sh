# Sourced by demo.sh and test.sh: the packages that uvic builds with, installed where they are missing (Debian 12, Ubuntu
# 24.04 or newer). $1 = test adds what only the tests need.

packages=(g++ cmake ninja-build libdnnl-dev libopencv-dev libyaml-cpp-dev libcli11-dev libstb-dev nlohmann-json3-dev
          libzip-dev libarchive-dev zlib1g-dev libopenmpi-dev openmpi-bin
          liblapacke-dev libopenblas-dev)
[ "${1:-}" != test ] || packages+=(libgtest-dev libbenchmark-dev)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || { echo "missing packages, and no apt-get to install them: ${missing[*]}" >&2; exit 1; }
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  echo "installing: ${missing[*]}"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Threads that wait sleep instead of spinning: builds and tests share the cores.
export OMP_WAIT_POLICY=passive
