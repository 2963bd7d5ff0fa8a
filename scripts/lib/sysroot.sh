# shellcheck shell=bash
# The libraries that programs are linked with: those of the oldest Debian that they run on. The C library numbers the
# versions of its functions, and a program needs at run time the newest that it was linked with. Sourced, not run; needs
# common.sh.
#
# After find_sysroot, "${sysroot_cc[@]}" compiles and links programs in C, dynamic, static or static-pie, that run with
# the C library of that Debian; swiftc gets "${sysroot_flags[@]}" by way of -Xclang-linker. (Debian's gcc searches the
# directories of this system even with --sysroot.) Parts of the sysroot:
#
#   usr, lib, lib64   the files of the packages, without documentation
#   c++               libstdc++.a and nothing else, so that no shared library is preferred
#   pkgconfig         libsystemd.pc, which leads to these headers and libraries
#   include           the headers of libsystemd, apart from those of the C library
#   DEBIAN/symbols    from which version of which package on a library has a function, for dpkg-shlibdeps
#   packages          the versions of the packages
# shellcheck disable=SC2154,SC2034 # Variables of common.sh, and those for the scripts that source this file.
# shellcheck source=scripts/lib/common.sh
[[ -n ${program:-} ]]
# shellcheck source=scripts/lib/debian.sh
source "${BASH_SOURCE[0]%/*}/debian.sh"

# The name of the cached sysroot holds a hash over this file, so that any change to the recipe below makes a new one.

# The release, and the versions of the C library and of libsystemd in it.
sysroot_release=bullseye
sysroot_glibc=2.31
sysroot_libsystemd=247

# Only what linking needs, and the headers for programs in C.
sysroot_packages=(libc6 libc6-dev linux-libc-dev libgcc-s1 libgcc-10-dev libstdc++-10-dev libsystemd0 libsystemd-dev)

# Where the release is when this machine's apt has no mirror of Debian, and once it is on no mirror any more.
sysroot_mirrors=(http://deb.debian.org/debian http://archive.debian.org/debian)

# Sets `sysroot` to the directory of the sysroot, sysroot_flags to the flags of the compiler driver for it, and
# sysroot_cc to a C compiler with these flags. Fails when there is no sysroot: the first two are then empty, and the
# last is this system's compiler.
find_sysroot() {
  sysroot=
  sysroot_flags=()
  sysroot_cc=("${CC:-cc}")
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || return
  local directory
  directory=$debian_cache/$(sysroot_name)
  [[ -d $directory ]] || return
  sysroot=$directory
  sysroot_flags=("--sysroot=$sysroot")
  # The one that comes with swiftc, and its linker.
  local swift
  swift=$(command -v swift)
  sysroot_cc=("${swift%/*}/clang" "${sysroot_flags[@]}" -fuse-ld=lld)
}

# Prints the name of the sysroot in the cache.
sysroot_name() {
  local architecture recipe
  architecture=$(dpkg --print-architecture)
  recipe=$(sha256sum <"$repository/scripts/lib/sysroot.sh")
  printf 'sysroot/%s-%s-%s\n' "$sysroot_release" "$architecture" "${recipe:0:12}"
}

# Makes the sysroot, once. Fails, and says why, when that is not possible. Needs no privileges.
make_sysroot() {
  make_cached "$(sysroot_name)" build_sysroot
}

# Makes the sysroot in the directory $1.
build_sysroot() (
  printf '%s: making the sysroot of Debian %s, once\n' "$program" "$sysroot_release" >&2
  work=$(mktemp --directory)
  trap 'rm --recursive --force "$work"' EXIT
  cd "$work" || exit
  local LC_ALL=C mirror package link destination
  for mirror in $(debian_mirror) "${sysroot_mirrors[@]}"; do
    if download_sysroot "$mirror" >>log 2>&1; then break; fi
    mirror=
  done
  if [[ -z $mirror ]]; then
    cat log >&2
    die "could not download packages of Debian $sysroot_release; what apt-get said is above"
  fi
  mkdir -p root/{DEBIAN,c++,include,pkgconfig}
  for package in *.deb; do
    # The program's build id is made of these lines, too.
    # shellcheck disable=SC2016 # dpkg-deb fills the names in.
    dpkg-deb --show --showformat '${Package} ${Version} ${Architecture}\n' "$package" >>root/packages
    dpkg-deb --fsys-tarfile "$package" | tar --extract --directory=root --exclude=./usr/share --exclude=./sbin
    dpkg-deb --info "$package" symbols >>root/DEBIAN/symbols 2>/dev/null || true
  done
  mv root/usr/lib/gcc/*/*/libstdc++.a root/c++
  # A directory of its own: with -I usr/include the C library's headers would be mixed with those of this system.
  ln --symbolic ../usr/include/systemd root/include/systemd
  # shellcheck disable=SC2016 # ${pcfiledir} is for pkg-config.
  printf '%s\n' 'Name: libsystemd' 'Description: systemd library' "Version: $sysroot_libsystemd" 'Libs: -lsystemd' \
    'Cflags: -I${pcfiledir}/../include' >root/pkgconfig/libsystemd.pc
  # Absolute links lead to the libraries of this system.
  while IFS= read -r -d '' link; do
    destination=$(readlink "$link")
    ln --symbolic --relative --force --no-dereference "root$destination" "$link"
  done < <(find root -type l -lname '/*' -print0)
  mv root "$1"
)

# Downloads the packages into the working directory from the mirror $1. Of this system's settings of apt it uses only
# those that tell how to reach a mirror. Security updates are left out: the release itself changes no more, so the same
# sources give the same program.
download_sysroot() {
  mkdir -p apt/lists/partial apt/cache/archives/partial
  : >apt/status
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$1" "$sysroot_release" \
    >apt/sources.list
  {
    apt_transport
    printf '%s "%s";\n' Dir::Etc::Main /dev/null Dir::Etc::Parts /dev/null Dir::Etc::SourceParts /dev/null \
      Dir::Etc::Preferences /dev/null Dir::Etc::PreferencesParts /dev/null \
      Dir::Etc::SourceList "$PWD/apt/sources.list" Dir::State "$PWD/apt" Dir::State::status "$PWD/apt/status" \
      Dir::Cache "$PWD/apt/cache" APT::Architecture "$(dpkg --print-architecture)" \
      APT::Sandbox::User "$(id --user --name)" Acquire::Languages none
  } >apt/conf
  APT_CONFIG=$PWD/apt/conf apt-get --quiet=2 --error-on=any update &&
    APT_CONFIG=$PWD/apt/conf apt-get --quiet=2 download "${sysroot_packages[@]}"
}
