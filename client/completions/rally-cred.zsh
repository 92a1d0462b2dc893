#compdef rally-cred
# Completion of rally-cred for zsh: eval "$(rally-cred completions zsh)" in ~/.zshrc, after compinit;
# or as a file _rally-cred in a folder of $fpath.
# The program itself knows what may come next; without an answer, file names are offered.
_rally-cred() {
    local -a found
    found=(${(f)"$(print -rl -- "${(@)words[2,CURRENT]}" | rally-cred __complete 2>/dev/null)"})
    # Between a word and what it means, _describe wants a colon.
    found=(${found/$'\t'/:})
    if (( $#found )); then
        _describe rally-cred found
    else
        _default
    fi
}
if [[ $funcstack[1] == _rally-cred ]]; then
    _rally-cred "$@"
else
    compdef _rally-cred rally-cred
fi
