#!/bin/sh
# symbols.sh NM LIBRARY OBJECTS...: what the library shows, and what kernels share with the rest.
#
# An inline function or a template's instance that several files have is linked once, from any of them. Were it that of
# a file compiled for AVX-512, processors without it would stumble over it. So the files of kernels may define none.
nm=$1 library=$2
shift 2
shown=$("$nm" --dynamic --defined-only "$library" | sed 's/.* [A-Za-z] //' | grep -v '^fmedge_chain_[a-z_]*$' | grep -v '^_\(init\|fini\)$')
if [ -n "$shown" ]; then
    echo "FAILED: $library shows more than its interface:" $shown
    exit 1
fi
for object in "$@"; do
    case $object in *kernels_*) ;; *) continue ;; esac
    case $object in *kernels_plain*) continue ;; esac
    shared=$("$nm" -C --defined-only "$object" | grep ' [WVu] ')
    if [ -n "$shown$shared" ]; then
        echo "FAILED: $object defines what other files may define, too:"
        echo "$shared"
        exit 1
    fi
done
echo "passed: symbols"
