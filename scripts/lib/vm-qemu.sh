# shellcheck shell=bash
# Machines of scripts/vm that are real: Debian's kernel and a disk of their own, in QEMU. Sourced by scripts/vm for such
# a machine: these functions take the place of those of the same names, which are for containers.
#
# The host reaches the machine by ssh alone, over one connection that also carries the API: its Unix socket and its TCP
# port are where they are with a container.
# shellcheck disable=SC2154,SC2034 # What is not set here is scripts/vm's, and what is not used here is for it.
# shellcheck source=scripts/lib/common.sh
[[ -n ${program:-} ]]

# Emulated, a machine needs a minute on a slow host.
boot_seconds_limit=600
disk_size=3G
memory_size=1G

# KVM, where this processor can do for its guests what it takes; a hypervisor below may show the device without that.
accelerator() {
  if [[ -w /dev/kvm ]] && grep -qE '^flags\s.*\b(vmx|svm)\b' /proc/cpuinfo; then
    echo "-accel kvm -cpu host"
  else
    echo "-accel tcg,thread=multi -cpu max"
  fi
}

secure_shell() {
  ssh -F /dev/null -i "$directory/key" -S "$directory/control" -p "$((port + 1000))" -o BatchMode=yes \
    -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o StreamLocalBindUnlink=yes \
    "$@"
}

# A process stands for the machine.
find_leader() {
  leader=
  is_running && [[ -s $directory/supervisor ]] && leader=$(<"$directory/supervisor")
}

# A real machine has the package.
install_program() {
  local package
  package=$("$repository/scripts/package" --binary "$2" --output "$directory" | tail -n 1)
  cp "$package" "$1/root/miosa-agent.deb"
  # systemd-sysusers of Debian 11 changes modes by way of /proc.
  mount -t proc proc "$1/proc"
  if ! chroot "$1" dpkg --install /root/miosa-agent.deb >"$directory/package.log" 2>&1; then
    cat "$directory/package.log" >&2
    die "the package cannot be installed"
  fi
  umount "$1/proc"
  rm "$1/root/miosa-agent.deb"
}

# Makes the disk out of the root, and takes the kernel from it.
finish_root() {
  rm --force "$directory/key" "$directory/key.pub"
  ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$directory/key"
  install -D --mode=0600 "$directory/key.pub" root/.ssh/authorized_keys
  ssh-keygen -q -A -f "$directory/root"
  cp boot/vmlinuz-* "$directory/kernel"
  cp boot/initrd.img-* "$directory/initrd"
  mke2fs -q -t ext4 -L root -d . "$directory/disk" "$disk_size"
}

# Becomes the machine.
supervise() {
  exec {lock}>"$directory/lock"
  flock --timeout 2 "$lock" || die "machine '$name' is already running"
  host_has_systemd || enter_cgroup "miosa-agent-vm/$name/machine" capped
  echo "$$" >"$directory/supervisor"
  # The token in a file, because everybody can see a command line; who it is on the kernel's.
  printf 'io.systemd.credential:miosa.token=%s' "$(<"$directory/token")" >"$directory/credential"
  local -a options=()
  read -ra options <<<"$(accelerator)"
  exec qemu-system-x86_64 "${options[@]}" -m "$memory_size" -smp 2 -nodefaults -nographic \
    -kernel "$directory/kernel" -initrd "$directory/initrd" \
    -append "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=no \
      systemd.set_credential=miosa.computer-id:vm-$name" \
    -serial "file:$directory/console" -qmp "unix:$directory/monitor,server=on,wait=off" \
    -drive "file=$directory/disk,format=raw,if=virtio,cache=writeback" -device virtio-rng-pci \
    -netdev "user,id=net,hostfwd=tcp:127.0.0.1:$((port + 1000))-:22" -device virtio-net-pci,netdev=net \
    -device virtio-serial-pci -chardev "pipe,id=up,path=$directory/up" -device virtserialport,chardev=up,name=up \
    -smbios "type=11,path=$directory/credential"
}

# Waits for the machine to say that it is up, and opens the connection to it.
await_up() {
  if ! read -r -t "$boot_seconds_limit" _ <>"$directory/up.out"; then
    show_last_lines
    die "machine '$name' did not boot"
  fi
  secure_shell -fNM -o ControlPersist=yes -L "$directory/run/api.sock:/run/miosa-agent/api.sock" \
    -L "127.0.0.1:$port:127.0.0.1:2088" root@127.0.0.1
  if [[ $(run_inside systemctl is-active miosa-agent.service) != active ]]; then
    show_last_lines
    die "machine '$name' is up, but the agent is not"
  fi
}

boot_machine() {
  remove_leftovers
  rm --force "$directory"/up.{in,out}
  mkfifo "$directory"/up.{in,out}
  setsid "$repository/scripts/vm" supervise "$name" </dev/null >>"$directory/qemu.log" 2>&1 &
  await_up
}

reboot() {
  need_leader
  # The answer goes down with the machine.
  secure_shell root@127.0.0.1 systemctl reboot || true
  secure_shell -O exit root@127.0.0.1 2>/dev/null || true
  await_up
}

# Stops the machine's processors, and lets them go on: its clock stands still meanwhile, as when a hypervisor pauses it.
tell_monitor() {
  need_leader
  /usr/bin/python3 -I -S - "$directory/monitor" "$1" <<'END'
import json, socket, sys

with socket.socket(socket.AF_UNIX) as monitor:
    monitor.connect(sys.argv[1])
    lines = monitor.makefile()
    lines.readline()
    for command in ("qmp_capabilities", sys.argv[2]):
        monitor.sendall(json.dumps({"execute": command}).encode())
        while "return" not in json.loads(lines.readline()):
            pass
END
}

exec_inside() {
  need_leader
  secure_shell root@127.0.0.1 "$(printf '%q ' env LANG=C.UTF-8 "$@")"
}

stop_machine() {
  if [[ ${1:-} == politely ]] && is_running; then
    secure_shell root@127.0.0.1 systemctl poweroff 2>/dev/null || true
    wait_until_stopped "$power_off_seconds_limit" ||
      printf "%s: '%s' did not power off in %d s, killing it\n" "$program" "$name" "$power_off_seconds_limit" >&2
  fi
  if is_running; then
    kill_recorded supervisor
    wait_until_stopped 5 || die "machine '$name' cannot be stopped"
  fi
  rm --force "$directory/supervisor"
  remove_leftovers
}

remove_leftovers() {
  secure_shell -O exit root@127.0.0.1 2>/dev/null || true
  rm --force "$directory/run/api.sock"
  host_has_systemd || remove_cgroups
}

read_journal() {
  find_leader || die "machine '$name' is not running, and its journal is on its disk"
  run_inside journalctl "$@"
}

install_agent() {
  die "machine '$name' has the agent from its package: install another package inside"
}
