#!/bin/sh
# run.sh [FOLDER [STEP...]]: the harness, in every way that this machine can build and run it. FOLDER takes the builds.
#
# release    every mode at its full count, failing allocations, symbols, the example
# sanitized  AddressSanitizer with UndefinedBehaviorSanitizer: every mode, 100,000 cases of fuzz
# threads    ThreadSanitizer: fewer cases, for it is slow
# x86        processors without AVX-512 and without AVX2, by qemu-x86_64
# arm        64-bit Arm, by aarch64-linux-gnu-g++ and qemu-aarch64; ARM_CPU=cortex-a76 takes another
#
# What there is no tool for is said and left out. COUNT_SCALE=10 divides the counts by ten.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-build/native}
[ $# -gt 0 ] && shift
steps=${*:-release sanitized threads x86 arm}
scale=${COUNT_SCALE:-1}
jobs=${JOBS:-$(nproc)}

# build NAME OPTIONS...: configure and build FOLDER/NAME.
build() {
    name=$1
    shift
    cmake -S "$here/.." -B "$folder/$name" -DFMEDGE_CHAIN_TESTS=ON -DFMEDGE_CHAIN_EXAMPLE=ON "$@" >"$folder/$name.log" 2>&1 &&
        cmake --build "$folder/$name" --parallel "$jobs" >>"$folder/$name.log" 2>&1 || { tail -40 "$folder/$name.log"; exit 1; }
    grep -A5 'warning:' "$folder/$name.log" || true
}

# modes "COMMAND TO RUN IT" NAME MODE COUNT...: modes of the harness that was built as NAME.
modes() {
    runner=$1 name=$2
    shift 2
    while [ $# -gt 0 ]; do
        $runner "$folder/$name/tests/harness" "$1" --count $((($2 + scale - 1) / scale))
        shift 2
    done
}

# emulator ARCHITECTURE: qemu's program for it, static or not.
emulator() {
    command -v "qemu-$1-static" || command -v "qemu-$1"
}

mkdir -p "$folder"
for step in $steps; do
    echo "== $step"
    case $step in
    release)
        build release
        "$folder/release/tests/header_in_c"
        modes "" release contract 1 refusals 20000 reference 2000 identical 500 guards 2000 fuzz 100000 slope 100000
        "$folder/release/tests/faults"
        (cd "$folder/release" && ctest --quiet --tests-regex 'symbols' --output-on-failure)
        ;;
    sanitized)
        build sanitized -DFMEDGE_CHAIN_SANITIZE=address,undefined
        modes "" sanitized contract 1 refusals 5000 reference 500 identical 150 guards 500 fuzz 100000
        ;;
    threads)
        build threads -DFMEDGE_CHAIN_SANITIZE=thread
        modes "" threads contract 1 refusals 200 reference 150 identical 60 guards 200 fuzz 3000
        ;;
    x86)
        qemu=$(emulator x86_64) || { echo "There is no qemu-x86_64 (apt-get install qemu-user): left out."; continue; }
        [ "$(uname -m)" = x86_64 ] || { echo "This is no x86-64: left out."; continue; }
        build release
        for cpu in Nehalem "Haswell,-hle,-rtm,-invpcid,-pcid,-x2apic,-tsc-deadline"; do
            echo "${cpu%%,*}"
            modes "$qemu -cpu $cpu" release contract 1 refusals 500 reference 60 identical 15 guards 60 fuzz 1500
            "$qemu" -cpu "$cpu" "$folder/release/tests/faults"
        done
        ;;
    arm)
        command -v aarch64-linux-gnu-g++ >/dev/null && qemu=$(emulator aarch64) ||
            { echo "There is no compiler for 64-bit Arm or no emulator (apt-get install g++-aarch64-linux-gnu qemu-user): left out."; continue; }
        build arm -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
            -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc
        arm="$qemu -cpu ${ARM_CPU:-cortex-a53} -L /usr/aarch64-linux-gnu"
        modes "$arm" arm contract 1 refusals 500 reference 60 identical 15 guards 60 fuzz 1500
        $arm "$folder/arm/tests/faults"
        ;;
    *)
        echo "There is no step $step." >&2
        exit 2
        ;;
    esac
done
echo "passed: $steps"
