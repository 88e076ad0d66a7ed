# Completion of shufflefs for fish. It asks the one for bash, which is generated from the commands.
function __shufflefs_complete
    set -l words (commandline -opc) (commandline -ct)
    bash -c 'source "$(dirname "$(command -v shufflefs)")/../share/bash-completion/completions/shufflefs" || exit
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _shufflefs; printf "%s\n" "${COMPREPLY[@]}"' bash $words 2>/dev/null
end
complete -c shufflefs -f -a '(__shufflefs_complete)'
