# shellcheck shell=bash
# Completion of miosa-agent for bash. A test holds its flags against those of `miosa-agent --help`.

_miosa_agent() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local words=''
  # Bash makes a word of its own of '='.
  if [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD - 2]}; fi
  if [[ $current == = ]]; then current=; fi
  COMPREPLY=()
  case $previous in
    --socket) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    --unit-directory | --state-directory) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    --service-user | --allowed-users) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
    --group) mapfile -t COMPREPLY < <(compgen -g -- "$current") ;;
    --log-level) words='error warning notice info debug' ;;
    --listen) words='127.0.0.1:2088' ;;
    *)
      words='--listen --socket --unit-directory --state-directory --service-user --group --allowed-users --hosts'
      words+=' --log-level'
      if ((COMP_CWORD == 1)); then
        words="serve check reload --version --help $words"
      elif [[ ${COMP_WORDS[1]} == check ]]; then
        words="--json $words"
      fi
      ;;
  esac
  if [[ -n $words ]]; then mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"); fi
}

complete -F _miosa_agent miosa-agent
