# shellcheck shell=bash
# What all scripts share. Sourced, not run.

# A failure inside $(…) ends the script, like one outside.
shopt -s inherit_errexit

program=${0##*/}
repository=$(cd -- "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
# Where scripts/build leaves the agent and the other scripts look for it.
# shellcheck disable=SC2034 # Used by the scripts that source this file.
default_binary=$repository/.build/miosa-agent
# The same for the launcher of services, which all builds of the agent share.
# shellcheck disable=SC2034
built_launcher=$repository/.build/miosa-launch

die() {
  printf '%s: %s\n' "$program" "$*" >&2
  exit 1
}

# For wrong usage, with the exit status that getopt and friends use for it.
usage_error() {
  printf '%s: %s\n' "$program" "$*" >&2
  printf "Try 'scripts/%s --help'.\n" "$program" >&2
  exit 2
}

need_command() {
  local command
  for command; do
    command -v "$command" >/dev/null || die "'$command' is missing: run scripts/bootstrap"
  done
}
