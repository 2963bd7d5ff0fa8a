# shellcheck shell=bash
# What an installed agent consists of. Sourced, not run, by the scripts that put these files into a system or a package.
# Needs common.sh.
# shellcheck disable=SC2154,SC2034 # Variables of common.sh, and those for the scripts that source this file.
# shellcheck source=scripts/lib/common.sh
[[ -n ${program:-} ]]

# The files besides the programs and the settings: path in the repository, path in the root, mode.
agent_files=(
  "systemd/miosa-agent.socket /usr/lib/systemd/system/miosa-agent.socket 0644"
  "systemd/miosa-agent-tcp.socket /usr/lib/systemd/system/miosa-agent-tcp.socket 0644"
  "systemd/miosa-agent-tcp6.socket /usr/lib/systemd/system/miosa-agent-tcp6.socket 0644"
  "systemd/miosa-agent-vsock.socket /usr/lib/systemd/system/miosa-agent-vsock.socket 0644"
  "systemd/miosa-agent-user.socket /usr/lib/systemd/system/miosa-agent-user.socket 0644"
  "systemd/miosa-agent.service /usr/lib/systemd/system/miosa-agent.service 0644"
  "systemd/miosa-services.slice /usr/lib/systemd/system/miosa-services.slice 0644"
  "systemd/miosa-agent.sysusers.conf /usr/lib/sysusers.d/miosa-agent.conf 0644"
  "systemd/miosa-agent.tmpfiles.conf /usr/lib/tmpfiles.d/miosa-agent.conf 0644"
  "packaging/miosa-launchers /usr/lib/miosa-agent/miosa-launchers 0755"
  "packaging/completion/miosa-agent.bash /usr/share/bash-completion/completions/miosa-agent 0644"
)
agent_program=/usr/bin/miosa-agent
# The launcher of services, under the name that unit files have for it. What they name is a copy, one directory up:
# packaging/miosa-launchers.
agent_launcher=/usr/lib/miosa-agent/current/$(
  sed -n 's/.*static let launcher = launcherPrefix + "\([0-9]*\)"/launch-\1/p' \
    "$repository/Sources/Services/Unit/UnitFile.swift"
)
# The administrator's own: never overwritten.
agent_settings=/etc/default/miosa-agent
agent_settings_mode=0600
# What is enabled and started; a test holds the maintainer scripts to the same.
agent_units=(
  miosa-agent.socket miosa-agent-tcp.socket miosa-agent-tcp6.socket miosa-agent-vsock.socket miosa-agent.service
)
