# What a board is: read only, POSIX sh, run by "sh -s -- [PYTHON]". Lines of "key value"; what cannot be found is left out.
PATH=$PATH:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
say() { [ -z "$2" ] || printf '%s %s\n' "$1" "$2"; }
first() { for file; do if [ -r "$file" ]; then tr '\000' ' ' <"$file" | head -n 1; return; fi; done; }
echo
echo fmedge-board-probe
say machine "$(uname -m)"
say kernel "$(uname -sr)"
say bits "$(getconf LONG_BIT 2>/dev/null)"
say elf "$(head -c 5 /bin/sh | od -An -tu1 | tr -s ' ' | cut -d ' ' -f 6)"
say glibc "$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d ' ' -f 2)"
for file in /lib/ld-musl-*; do [ -e "$file" ] && say musl "$file"; done
say model "$(first /proc/device-tree/model /sys/class/dmi/id/product_name)"
say time "$(date +%s)"
say memory "$(awk '/^MemTotal:/ {print $2}' /proc/meminfo)"
say available "$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)"
folder=${XDG_DATA_HOME:-$HOME/.local/share}
while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
say disk "$(df -Pk "$folder" | awk 'NR == 2 {print $4}')"
[ -w "$folder" ] && say writable 1
for python in ${1:+"$1"} python3.13 python3.12 python3.11 python3; do
  command -v "$python" >/dev/null 2>&1 || continue
  facts=$("$python" -I -B -c '
import platform, struct, sys, sysconfig
try:
    import venv
    has = 1
except ImportError:
    has = 0
print("%d.%d.%d" % sys.version_info[:3], struct.calcsize("P") * 8, has, platform.machine() or "-", "".join(platform.libc_ver()[:1]) or "-", platform.libc_ver()[1] or "-", sys.implementation.name, int(bool(sysconfig.get_config_var("Py_GIL_DISABLED"))))
' 2>/dev/null </dev/null) && printf 'python %s %s\n' "$facts" "$python"
done
echo end
