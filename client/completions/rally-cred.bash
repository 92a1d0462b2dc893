# Completion of rally-cred for bash: eval "$(rally-cred completions bash)" in ~/.bashrc
# The program itself knows what may come next; without an answer, file names are offered.
_rally_cred() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <(printf '%s\n' "${COMP_WORDS[@]:1:COMP_CWORD}" | rally-cred __complete 2>/dev/null)
}
complete -o default -F _rally_cred rally-cred
