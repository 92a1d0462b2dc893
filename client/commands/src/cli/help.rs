//! The longer texts of the commands' help, which the manual page shows too.
//! Does not: hold what stands beside a single flag.
//! Used by: `cli`.

pub(super) const ABOUT: &str =
    "Hands out the ZSESSIONID of a Rally sign-in to git, curl, build tools and scripts";

pub(super) const EXAMPLES: &str = "\
Examples:
  rally-cred setup                                  on the first day: make a profile and sign in
  rally-cred login                                  sign in again, in the browser
  rally-cred get --format token                     print a ZSESSIONID
  rally-cred get --format header | curl -H @- https://rally1.rallydev.com/slm/webservice/v2.0/user
  rally-cred setup --git yes                        have git ask it about Rally's server

Exit codes:
  0  done                        5  time ran out
  1  a failure not listed        6  no daemon
  2  wrong usage                 7  keyring locked or missing
  3  a sign-in is needed         8  Rally cannot be reached
  4  refused by the user or by Rally";

pub(super) const GET_HELP: &str = "\
The request comes on standard input: git's attributes (protocol=…, host=…), the JSON of an EngFlow
credential helper ({\"uri\":…}), or nothing, which means the default profile. Without --format, and with
git and engflow, a request is waited for. Every other format does without: if standard input stays
open, as under ssh and in CI, and nothing has come after a second, there is no request, unless the
config file has several profiles or [static] hosts; then --profile or </dev/null says which is meant.
With both --profile and such a format, standard input is not read.

All of it together takes no longer than --wait.

A server that no profile is for gets no answer: silence and exit code 0 in git's format, an error in
all others. If the server has a profile but no token can be had, git is told to quit, so that it does
not ask for a password that cannot work; the reason is on standard error.

A person is asked to sign in only if --interactive allows it. \"auto\" does not under CI, under
GIT_TERMINAL_PROMPT=0, under git's credential.interactive=false, or with neither display nor terminal.

Examples:
  rally-cred get --format token
  rally-cred get --profile work --format header --interactive never
  rally-cred get --format curl </dev/null | curl -K - https://rally1.rallydev.com/slm/webservice/v2.0/user
  variables=$(rally-cred get --format env </dev/null) && eval \"$variables\"
  printf 'protocol=https\\nhost=rally1.rallydev.com\\n\\n' | rally-cred get

Formats:
  git      username=…, password=ZSESSIONID, password_expiry_utc=…
  engflow  {\"headers\":{\"ZSESSIONID\":[…]},\"expires\":…}
  token    the ZSESSIONID alone
  header   ZSESSIONID: …
  env      RALLY_API_KEY, RALLY_APIKEY and RALLY_ZSESSIONID, for sh to evaluate;
           env-fish and env-powershell for these shells
  curl     a config for curl -K -
  json     {\"version\":1,\"profile\":…,\"base_url\":…,\"username\":…,\"header\":\"ZSESSIONID\",\"token\":…,
            \"expires_at\":SECONDS,\"expires\":RFC 3339}; what is not known is left out;
            on failure {\"version\":1,\"error\":{\"kind\":…,\"what\":…,\"why\":…,\"try\":…}}";

pub(super) const SETUP_HELP: &str = "\
At a terminal it asks what no flag says, and proposes what it knows. Elsewhere nobody is asked: what has
no flag and no known answer is an error, and units, git and completions are left alone.

It writes the config file (comments and other profiles stay as they are), the systemd units and the
completions into folders of yours, and git's setting credential.URL.helper; then it signs in, which
proves the values and puts the client secret into the keyring. Existing settings are kept, so it can be
run again at any time. --dry-run changes nothing and asks no daemon.

A daemon that systemd starts has none of this shell's variables. --network yes gives it those that name a
proxy (HTTPS_PROXY, ALL_PROXY, NO_PROXY) and certificates (SSL_CERT_FILE, SSL_CERT_DIR), in a file beside
its unit; run it again when they change.

--remove takes away the profile, its token and its client secret; with a server's last profile git's
setting, and with the last of all the rest: what setup made, of which it keeps a record, and no more.

Examples:
  rally-cred setup
  rally-cred setup work --base-url https://eu1.rallydev.com
  rally-cred setup --client-id ID --callback http://localhost:8477/callback --git yes --units yes \\
    --completions no --client-secret-stdin < FILE
  rally-cred setup --remove --dry-run";

pub(super) const LOGIN_HELP: &str = "\
The browser opens at Rally's page; press \"Allow Access\" there. If the browser runs elsewhere, or ends
at a page that cannot be opened, paste that page's address into the terminal.

The OAuth client secret is asked for, without echo, while the keyring has none.

Examples:
  rally-cred login
  rally-cred login work --no-browser
  pass show rally/client-secret | rally-cred login --client-secret-stdin";

pub(super) const EXEC_HELP: &str = "\
The program gets RALLY_API_KEY, RALLY_APIKEY and RALLY_ZSESSIONID, or what --for and --set say. Tokens
that stand in these variables already are taken away, and so are servers that are not the profile's.
A program reads its variables once: one that runs longer than the token lives has to be started again.

  --for pyral       APIKEY, and RALLY_SERVER as a host
  --for rally-node  RALLY_API_KEY
  --for clojure     API_KEY, and RALLY_HOST as an address
  --for mcp         RALLY_API_KEY, RALLY_APIKEY, and RALLY_INSTANCE as an address

The program takes the place of rally-cred, so signals and its exit code are its own. Before that, the
exit codes of rally-cred hold; 126 says that the program cannot be run, 127 that it is not found.

Examples:
  rally-cred exec -- npm test
  rally-cred exec work --for pyral -- python3 report.py
  rally-cred exec --set RALLY_BASE_URL=wsapi-url --min-validity 8h -- node mcp-server.js";

pub(super) const STATUS_HELP: &str = "\
Exit code 0 only if every profile shown can serve a token now without anybody's help. A profile with *
is the default. No daemon is started; if none runs, the exit code is 6.

Examples:
  rally-cred status
  rally-cred status work --check
  rally-cred status --json | jq -r '.profiles[] | select(.ready) | .profile'

--json prints {\"version\":1,\"release\":…,\"pid\":…,\"config\":…,\"vault\":{…},\"profiles\":[…]} with the fields
of the message `status` in PROTOCOL.md, or {\"version\":1,\"error\":{\"kind\":…,\"what\":…,\"why\":…,\"try\":…}}.";

pub(super) const DOCTOR_HELP: &str = "\
Exit code 0 only if nothing fails; otherwise that of the first fault. What cannot be tried because of
another fault, or has no meaning here, is marked with --.

  config         the daemon's config file can be used, and is the one that this shell names
  permissions    nobody else may change the config, read the log or use the socket
  path           git finds git-credential-rally, where it looks for it
  socket         the socket's folder can be trusted
  daemon         a daemon answers, or one can be started, and is of this release
  vault          the keyring takes an item, gives it back and deletes it
  redirect_port  the port that the browser comes back to is free
  rally          Rally answers, and allows this address
  tls            the connection to Rally is trusted
  clock          this machine's clock agrees with Rally's
  sign_in        a token is in hand that Rally takes, or can be renewed
  network        the daemon has this shell's proxy and certificate variables, or reaches Rally anyway
  git            git asks this program about Rally's server, if it was told to, and no other helper
  git_store      git's own store has no password for it in plain text
  units          the systemd units, if they are installed, are enabled and have not failed

Examples:
  rally-cred doctor
  rally-cred doctor --json | jq -r '.checks[] | select(.verdict == \"fail\") | .fault.try'
  rally-cred doctor --report rally-cred-report.txt

--json prints {\"version\":1,\"ok\":…,\"checks\":[{\"check\":…,\"profile\":…,\"verdict\":\"pass\"|\"fail\"|\"skipped\",
\"note\":…,\"fault\":{\"kind\":…,\"what\":…,\"why\":…,\"try\":…}}]}; what does not apply is left out.";

pub(super) const COMPLETIONS_HELP: &str = "\
Examples:
  eval \"$(rally-cred completions bash)\"                                  in ~/.bashrc
  eval \"$(rally-cred completions zsh)\"                                   in ~/.zshrc, behind compinit
  rally-cred completions fish | source                                   in ~/.config/fish/config.fish
  rally-cred completions powershell | Out-String | Invoke-Expression     in $PROFILE";
