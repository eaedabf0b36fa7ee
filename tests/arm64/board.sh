#!/usr/bin/env bash
# A whole 64-bit Arm system as a board: Debian under qemu, in a network namespace of its own, behind its own sshd.
#   board.sh make FOLDER      FOLDER/root, ten minutes; FOLDER/key, FOLDER/ssh_config: the board is called armpi
#   board.sh start FOLDER     start its sshd, and let it reach the network
#   board.sh cut|mend FOLDER  take it off the network outside, give it back; it can be reached from here all the time
#   board.sh stop FOLDER      end its processes, and remove the namespace
# ARM_CPU names another processor than a Cortex-A72. Needs root rights, binfmt_misc, debootstrap, qemu-user-static, iproute2, iptables and OpenSSH.
set -euo pipefail

what=$1
folder=$(realpath -m "$2")
root=$folder/root
name=fmedge-arm
net=10.77.0

case $what in
make)
  if [ ! -e /proc/sys/fs/binfmt_misc/register ]; then mount -t binfmt_misc none /proc/sys/fs/binfmt_misc; fi
  if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
    # An ELF file for AArch64 (man 5 elf); F: the interpreter is opened now, so that it works inside the root.
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    echo ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):FP" >/proc/sys/fs/binfmt_misc/register
  fi
  mkdir -p "$folder"
  if [ ! -e "$root/usr/sbin/sshd" ]; then
    debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv,openssh-server,ca-certificates \
      "${ARM_SUITE:-bookworm}" "$root" ${ARM_MIRROR:+"$ARM_MIRROR"} >"$folder/debootstrap.log"
  fi
  chroot "$root" id pi >/dev/null 2>&1 || chroot "$root" useradd -m -s /bin/bash -p '*' pi # no password, but not locked
  chroot "$root" ssh-keygen -A >/dev/null
  rm -f "$folder/key" "$folder/key.pub"
  ssh-keygen -q -t ed25519 -N '' -f "$folder/key"
  install -d -m 700 "$root/home/pi/.ssh"
  cp "$folder/key.pub" "$root/home/pi/.ssh/authorized_keys"
  chroot "$root" chown -R pi:pi /home/pi
  cat >"$folder/ssh_config" <<EOF
Host armpi
 HostName $net.2
 User pi
 IdentityFile $folder/key
 IdentitiesOnly yes
 UserKnownHostsFile $folder/known_hosts
EOF
  echo "$net.2 $(cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" >"$folder/known_hosts"
  # qemu shows this machine's /proc/cpuinfo; onnxruntime looks for Arm's fields and crashes without.
  for cpu in $(seq 0 $(($(nproc --all) - 1))); do # a Cortex-A72, as in a Raspberry Pi 4
    printf '%s\t: %s\n' processor "$cpu" BogoMIPS 108.00 Features "fp asimd evtstrm crc32 cpuid" \
      "CPU implementer" 0x41 "CPU architecture" 8 "CPU variant" 0x0 "CPU part" 0xd08 "CPU revision" 3
    echo
  done >"$folder/cpuinfo"
  ;;
start)
  ip netns add $name
  ip link add ${name}0 type veth peer name ${name}1 netns $name
  ip addr add $net.1/24 dev ${name}0
  ip link set ${name}0 up
  ip -n $name addr add $net.2/24 dev ${name}1
  ip -n $name link set ${name}1 up
  ip -n $name link set lo up
  ip -n $name route add default via $net.1
  mount -t proc proc "$root/proc"
  mount --bind "$folder/cpuinfo" "$root/proc/cpuinfo"
  mount --bind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount --make-rslave "$root/dev"
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$root/etc/pip.conf"
  mkdir -p "$root/run/sshd"
  cat /proc/sys/net/ipv4/ip_forward >"$folder/forwarding"
  "$0" mend "$folder"
  cpu=QEMU_CPU=${ARM_CPU:-cortex-a72}
  env "$cpu" ip netns exec $name chroot "$root" /usr/sbin/sshd -o UsePAM=no -o PidFile=/run/sshd.pid -o SetEnv="$cpu"
  ;;
mend)
  echo 1 >/proc/sys/net/ipv4/ip_forward
  iptables -t nat -A POSTROUTING -s $net.0/24 -j MASQUERADE
  iptables -D FORWARD -s $net.0/24 -j REJECT 2>/dev/null || true
  ;;
cut)
  iptables -t nat -D POSTROUTING -s $net.0/24 -j MASQUERADE
  iptables -I FORWARD -s $net.0/24 -j REJECT
  ;;
stop)
  for pid in $(ip netns pids $name); do kill "$pid" 2>/dev/null || true; done
  iptables -t nat -D POSTROUTING -s $net.0/24 -j MASQUERADE 2>/dev/null || true
  iptables -D FORWARD -s $net.0/24 -j REJECT 2>/dev/null || true
  cat "$folder/forwarding" >/proc/sys/net/ipv4/ip_forward
  for place in dev sys proc/cpuinfo proc; do umount --lazy --recursive "$root/$place" || true; done
  ip netns del $name
  ;;
*)
  echo "usage: board.sh make|start|cut|mend|stop FOLDER" >&2
  exit 2
  ;;
esac
