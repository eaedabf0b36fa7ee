#!/usr/bin/env bash
# Builds what Python for 64-bit Arm needs to run here; needs no root rights:
#   FOLDER/root   libraries and Python of Debian for Arm, unpacked
#   FOLDER/venv   a virtual environment whose bin/python runs that Python under qemu; ARM_CPU names another processor
# usage: root.sh FOLDER         ARM_SUITE, ARM_MIRROR: another Debian release, another archive
set -euo pipefail

folder=$(realpath -m "$1")
suite=${ARM_SUITE:-bookworm}
PATH=$PATH:/usr/sbin # where debootstrap is, and not every user looks

need() {
  command -v "$1" >/dev/null || { echo "$1 is missing. Install it: apt-get install $2" >&2; exit 5; }
}
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || need qemu-aarch64-static qemu-user-static
need debootstrap debootstrap
need dpkg-deb dpkg
as_root=
if [ "$(id -u)" != 0 ]; then
  need fakeroot fakeroot
  as_root=fakeroot # debootstrap asks for root even where it only downloads
fi

rm -rf "$folder"
mkdir -p "$folder/root" "$folder/venv/bin"
download=$(mktemp -d) # debootstrap cannot do with a space in the path
trap 'rm -rf "$download"' EXIT

echo "Downloading Debian $suite for arm64..."
if ! $as_root debootstrap --arch=arm64 --variant=minbase --download-only --include=python3-venv \
  "$suite" "$download" ${ARM_MIRROR:+"$ARM_MIRROR"} >"$folder/debootstrap.log" 2>&1; then
  echo "debootstrap failed: $(tail -n 1 "$folder/debootstrap.log") Another archive: ARM_MIRROR=URL." >&2
  exit 1
fi
for package in "$download"/var/cache/apt/archives/*.deb; do
  dpkg-deb --extract "$package" "$folder/root"
done

# Paths that the root folder holds are taken from there, all others from this machine: what only this machine can
# know (name servers, certificates, temporary files) must not be in it.
cd "$folder/root"
if [ ! -L lib ]; then
  cp --archive lib/. usr/lib/ # Debian links lib to usr/lib, but packages still come with both
fi
find . -mindepth 1 -maxdepth 1 ! -name usr -exec rm -rf {} +
ln -s usr/lib lib

# qemu shows this machine's /proc/cpuinfo; onnxruntime looks for Arm's fields and crashes without.
mkdir proc
for cpu in $(seq 0 $(($(nproc --all) - 1))); do # a Cortex-A72, as in a Raspberry Pi 4
  printf '%s\t: %s\n' processor "$cpu" BogoMIPS 108.00 Features "fp asimd evtstrm crc32 cpuid" \
    "CPU implementer" 0x41 "CPU architecture" 8 "CPU variant" 0x0 "CPU part" 0xd08 "CPU revision" 3
  echo
done >proc/cpuinfo

# Python is told that it is called by this script's name: so sys.executable works in child processes, too.
# OPENBLAS_CORETYPE names kernels of the processor underneath.
python=$folder/venv/bin/python
cat >"$python" <<EOF
#!/bin/sh
exec "$qemu" -cpu "\${ARM_CPU:-cortex-a72}" -L "$folder/root" -U OPENBLAS_CORETYPE -0 "$python" "$folder/root/usr/bin/python3" "\$@"
EOF
chmod +x "$python"
echo "home = $folder/root/usr/bin" >"$folder/venv/pyvenv.cfg"
"$python" -m ensurepip >/dev/null
"$python" -c 'import platform; print("Python", platform.python_version(), "on", platform.machine())'
