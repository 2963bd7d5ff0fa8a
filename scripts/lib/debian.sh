# shellcheck shell=bash
# How the Debian archive is reached, and the cache of what is made from it. Sourced, not run; needs common.sh.
# shellcheck source=scripts/lib/common.sh
[[ -n ${program:-} ]]

# Prints the address of the Debian archive that this machine's apt uses, or nothing when that cannot be told.
debian_mirror() {
  local ID='' VERSION_CODENAME=''
  # shellcheck source=/dev/null
  source /etc/os-release
  if [[ $ID != debian ]]; then
    return
  fi
  local address release component
  # shellcheck disable=SC2016 # apt-get fills the names in.
  while read -r address release component; do
    if [[ $release == "$VERSION_CODENAME" && $component == main && $address == http* ]]; then
      printf '%s\n' "$address"
      return
    fi
  done < <(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages')
}

# Prints, as settings of apt, how this machine reaches its mirror: proxies, certificates, and what it tolerates.
apt_transport() {
  apt-config dump |
    grep --extended-regexp '^Acquire::((http|https)::|Check-Valid-Until |Check-Date |Retries )' || true
}

# The directory of the cache.
debian_cache=${XDG_CACHE_HOME:-$HOME/.cache}/miosa-agent

# Makes the directory $1 of the cache, where it does not exist, with the command after it, whose last argument is the
# directory to make. What an interrupted run has left there is removed first.
make_cached() (
  target=$debian_cache/$1
  if [[ -d $target ]]; then
    return
  fi
  mkdir -p "${target%/*}"
  # Two callers at once make it once. The command and its children must not inherit the lock, or a stray one among them
  # would hold it for ever.
  exec {lock}>"$target.lock"
  flock "$lock"
  if [[ ! -d $target ]]; then
    rm --recursive --force --one-file-system "$target.unfinished"
    "${@:2}" "$target.unfinished" {lock}>&-
    mv "$target.unfinished" "$target"
  fi
  rm --force "$target.lock"
)
