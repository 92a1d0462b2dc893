# Completion of rally-cred for fish: rally-cred completions fish | source, in ~/.config/fish/config.fish
# The program itself knows what may come next; without an answer, file names are offered.
function __rally_cred_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found (printf '%s\n' $words[2..] | rally-cred __complete 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c rally-cred -f -a '(__rally_cred_complete)'
