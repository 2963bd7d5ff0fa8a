# shellcheck shell=bash
# Builds and caches the Debian roots that scripts/vm boots. Sourced, not run; needs common.sh.
# shellcheck source=scripts/lib/common.sh
[[ -n ${program:-} ]]
# shellcheck source=scripts/lib/debian.sh
source "${BASH_SOURCE[0]%/*}/debian.sh"

# The name of a cached root holds a hash over this file, so that any change to the recipe below makes a new one.

vm_packages=(
  systemd systemd-sysv dbus libpam-systemd
  # For tests inside: clients, servers to run as services, and to look at processes and sockets.
  curl python3 procps iproute2
)

# What it takes to be a machine: a kernel, what finds its devices, and a way in.
vm_machine_packages=(linux-image-cloud-amd64 initramfs-tools zstd udev kmod openssh-server)

# Runs inside the new root, after its packages are installed.
vm_customize() {
  cat <<'END'
set -eu
useradd --uid 1000 --create-home --shell /bin/bash user
# A journal that survives a reboot.
mkdir -p /var/log/journal
# Nothing starts by itself that a test did not ask for: no timers, no login on the console.
rm -rf /etc/systemd/system/timers.target.wants /etc/systemd/system/getty.target.wants
rm -rf /etc/systemd/system/sysinit.target.wants/systemd-pstore.service
rm -rf /etc/systemd/system/multi-user.target.wants
systemctl --quiet mask console-getty.service getty.target e2scrub_reap.service systemd-pstore.service \
  systemd-update-utmp.service systemd-update-utmp-runlevel.service
systemctl --quiet set-default multi-user.target
# Each machine gets its own.
rm -f /etc/hostname /etc/machine-id /var/lib/dbus/machine-id
END
}

# The same for the root of a machine in QEMU, whose address is the one that QEMU has for its only guest.
vm_customize_machine() {
  vm_customize
  cat <<'END'
rm -f /etc/ssh/ssh_host_*
cat >/etc/systemd/network/all.network <<'UNIT'
[Match]
Type=ether
[Network]
Address=10.0.2.15/24
UNIT
cat >/etc/systemd/system/up.service <<'UNIT'
[Unit]
Description=Tell the host that this machine is up
Wants=network-online.target
After=network-online.target ssh.service miosa-agent.service multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo up >/dev/virtio-ports/up'
UNIT
mkdir -p /etc/systemd/system/multi-user.target.wants
ln -s ../up.service /etc/systemd/system/multi-user.target.wants/
systemctl --quiet enable systemd-networkd.service ssh.service
END
}

# Prints the path of the root for Debian release $1 and a machine of kind $2, "container" or "qemu", and builds it first
# when it is not in the cache.
vm_root() {
  local release=$1 kind=$2 recipe name
  recipe=$(printf '%s\n' "$release" "$kind" "$(dpkg --print-architecture)" | cat - "${BASH_SOURCE[0]}" | sha256sum)
  name=vm/$release-$kind-${recipe:0:12}
  make_cached "$name" vm_build_root "$release" "$kind"
  printf '%s\n' "$debian_cache/$name"
}

# Builds a root for release $1 and kind $2 in the directory $3.
vm_build_root() {
  local release=$1 kind=$2 directory=$3
  local -a packages=("${vm_packages[@]}")
  local customize=vm_customize
  if [[ $kind == qemu ]]; then
    packages+=("${vm_machine_packages[@]}")
    customize=vm_customize_machine
  fi
  local mirror work
  mkdir "$directory"
  work=$(mktemp --directory)
  # shellcheck disable=SC2064 # The value of now is meant.
  trap "rm --recursive --force '$work'" EXIT
  "$customize" >"$work/customize"
  apt_transport >"$work/apt.conf"
  # Without one mmdebstrap has its own default.
  mirror=$(debian_mirror)
  printf '%s: building the %s root for machines of kind %s, once\n' "$program" "$release" "$kind" >&2
  local log=$work/log
  local include
  include=$(IFS=, && printf '%s' "${packages[*]}")
  # Its own mount namespace: whatever mmdebstrap mounts goes away with it, however it ends.
  # shellcheck disable=SC2016 # $1 is for the hook's shell.
  if ! unshare --mount --propagation private mmdebstrap --quiet --mode=root --variant=minbase --include="$include" \
    --aptopt="$work/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --customize-hook='chroot "$1" sh -s <'"'$work/customize'" \
    "$release" "$directory" ${mirror:+"$mirror"} >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    die "could not build the $release root with mmdebstrap; what it said is above"
  fi
}
