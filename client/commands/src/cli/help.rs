//! The longer texts of the commands' help, which the manual page shows too.
//! Does not: hold what stands beside a single flag.
//! Used by: `cli`.

use rally_cred_proto::native;

pub(super) const ABOUT: &str =
    "Hands out the ZSESSIONID of a Rally sign-in to git, curl, build tools and scripts";

pub(super) const EXAMPLES: &str = "\
Examples:
  rally-cred setup                                  first of all: make a profile and sign in
  rally-cred login                                  sign in again, in the browser
  rally-cred get --format token                     print a ZSESSIONID
  rally-cred get --format header | curl -H @- https://rally1.rallydev.com/slm/webservice/v2.0/user
  rally-cred setup --git yes                        have git use it for Rally's server

Exit codes:
  0  done                        5  time ran out
  1  a failure not listed        6  no daemon
  2  wrong usage                 7  keyring locked or missing
  3  a sign-in is needed         8  Rally cannot be reached
  4  refused by the user or by Rally  9  locked";

pub(super) const GET_HELP: &str = concat!(
    "\
The request is read from standard input: git's attributes (protocol=…, host=…), an EngFlow request as
JSON ({\"uri\":…}), or nothing, which means the default profile. Without --format, and with git and
engflow, it waits for a request. The other formats need none: if standard input stays open, as under
ssh and in CI, and no data arrives within a second, there is no request. If the config file has several
profiles or [static] hosts it keeps waiting; ",
    native!(
        "--profile or </dev/null then",
        windows: "--profile or $null | then"
    ),
    " says which profile is meant.
With both --profile and such a format, standard input is not read.

--wait limits the time for everything together.

For a server without a profile there is no answer: silence and exit code 0 in git's format, an error in
all others. For a server with a profile but without a token, git is told to quit, so that it does not
ask for a password that cannot work; the reason is on standard error.

The user is asked to sign in only if --interactive allows it. \"auto\" does not if CI is set, with
GIT_TERMINAL_PROMPT=0 or git's credential.interactive=false, or without display and terminal.

Examples:
  rally-cred get --format token
  rally-cred get --profile work --format header --interactive never
",
    native!(
        "  rally-cred get --format curl </dev/null | curl -K - https://rally1.rallydev.com/slm/webservice/v2.0/user
  variables=$(rally-cred get --format env </dev/null) && eval \"$variables\"
  printf 'protocol=https\\nhost=rally1.rallydev.com\\n\\n' | rally-cred get
",
        windows: "  rally-cred get --format curl | curl -K - https://rally1.rallydev.com/slm/webservice/v2.0/user
  rally-cred get --format env-powershell | Out-String | Invoke-Expression
"
    ),
    "
Formats:
  git      username=…, password=ZSESSIONID, password_expiry_utc=…
  engflow  {\"headers\":{\"ZSESSIONID\":[…]},\"expires\":…}
  token    the ZSESSIONID alone
  header   ZSESSIONID: …
  headers  {\"ZSESSIONID\":…}, for a program that takes its headers from a command
  env      RALLY_API_KEY, RALLY_APIKEY and RALLY_ZSESSIONID, for sh to evaluate;
           env-fish and env-powershell for these shells
  curl     a config for curl -K -
  json     {\"version\":1,\"profile\":…,\"base_url\":…,\"username\":…,\"header\":\"ZSESSIONID\",\"token\":…,
            \"expires_at\":SECONDS,\"expires\":RFC 3339}; unknown fields are left out;
            on failure {\"version\":1,\"error\":{\"kind\":…,\"what\":…,\"why\":…,\"try\":…}}"
);

pub(super) const FORWARD_HELP: &str = "\
The host needs rally-cred, and nothing set up: \"rally-cred get\" there is answered by this machine's daemon, if the
host's user has no config file. It gives the tokens of signed-in profiles and their status; it signs nobody in,
stores nothing, and gives no static credential. Which profiles it gives, [forward] profiles in the config file says;
without it, the default profile.

It forwards until it is interrupted, and makes a broken connection again. With a program, that runs on the host, at
this terminal if there is one; its exit code is passed on, and the forwarding ends with it. RALLY_CRED_SOCKET is set
for it, so it is answered by this machine whatever the host's user has.

ssh takes its settings from its config file and from --ssh. The connection is one of its own, unless --ssh names a
ControlPath to share.

Examples:
  rally-cred forward build.example.com
  rally-cred forward me@build --ssh=-p2222 --ssh=-oProxyJump=gate.example.com
  rally-cred forward build -- make report";

pub(super) const WATCH_HELP: &str = concat!(
    "\
Each line is {\"version\":1,\"profile\":…,\"what\":…,\"expires_at\":SECONDS}, never with a token. \"what\" is
\"held\" (found, as when the watch begins), \"obtained\" (by a sign-in), \"renewed\", \"ended\" (also by a
sign-out), \"refused\" (by Rally) or \"sign_in_needed\" (with \"fault\", where the reason is known).

Watching keeps no token in use: one that nobody asks for ends, and is renewed when somebody does. When the
daemon ends there is {\"version\":1,\"what\":\"disconnected\"}, and \"reconnected\" once another runs; watch
starts one only at its own beginning.

Examples:
  rally-cred watch
",
    native!(
        "  rally-cred watch work | while read -r line; do rally-mcp-restart; done",
        windows: "  rally-cred watch work | ForEach-Object { rally-mcp-restart }"
    )
);

pub(super) const SETUP_HELP: &str = concat!(
    "\
At a terminal it asks for what no flag gives, and proposes what it knows. Without a terminal, a missing
value without a default is an error, and units, git and completions are left alone.

It writes the config file (comments and other profiles are kept), ",
    native!(
        "the systemd units, the completions
    and git's setting credential.URL.helper, all",
        macos: "the agent of launchd, the completions
    and git's setting credential.URL.helper, all",
        windows: "the entry by which Windows
    starts the daemon, and git's setting credential.URL.helper, all"
    ),
    " for this user only; then it signs in, which checks the
values and puts the client secret into the keyring. Existing settings are kept, so it can be
run again at any time. --dry-run changes nothing and asks no daemon.
",
    native!(
        "
A daemon that systemd starts does not have this shell's variables. --network yes copies those for proxy
(HTTPS_PROXY, ALL_PROXY, NO_PROXY) and certificates (SSL_CERT_FILE, SSL_CERT_DIR) into a file beside its
unit; run it again when they change.
",
        macos: "",
        windows: ""
    ),
    "
--remove removes the profile, its token and its client secret; with a server's last profile also git's
setting, and with the very last profile everything else that setup made. It removes nothing else.

Examples:
  rally-cred setup
  rally-cred setup work --base-url https://eu1.rallydev.com
",
    native!(
        "  rally-cred setup --client-id ID --callback http://localhost:8477/callback --git yes --units yes \\
    --completions no --client-secret-stdin < FILE
",
        windows: "  Get-Content FILE | rally-cred setup --client-id ID --callback http://localhost:8477/callback `
    --git yes --units yes --completions no --client-secret-stdin
"
    ),
    "  rally-cred setup --remove --dry-run"
);

pub(super) const LOGIN_HELP: &str = concat!(
    "\
The browser opens Rally's page; press \"Allow Access\" there. If the browser runs on another machine, or
ends on a page that cannot be opened, paste that page's address into the terminal.

If the keyring has no OAuth client secret, login asks for it, without echo.

Examples:
  rally-cred login
  rally-cred login work --no-browser
",
    native!(
        "  pass show rally/client-secret | rally-cred login --client-secret-stdin",
        windows: "  Get-Content FILE | rally-cred login --client-secret-stdin"
    )
);

pub(super) const EXEC_HELP: &str = concat!(
    "\
The program gets RALLY_API_KEY, RALLY_APIKEY and RALLY_ZSESSIONID, or what --for and --set say. Tokens
that are in such variables already are removed, and so are servers other than the profile's. A program
reads its variables once, so one that runs for longer than the token is valid has to be restarted.

  --for pyral       APIKEY, and RALLY_SERVER as a host
  --for rally-node  RALLY_API_KEY
  --for clojure     API_KEY, and RALLY_HOST as an address
  --for rally-tui   RALLY_APIKEY, and RALLY_SERVER as a host; the same is rally-cli
  --for ruby        RALLY_API_KEY
  --for mcp         RALLY_API_KEY, RALLY_APIKEY, and RALLY_INSTANCE as an address

",
    native!(
        "The program replaces rally-cred, so signals and exit code are its own. If it does not start, the exit
code is one of rally-cred's, 126 if it cannot be run, or 127 if it is not found. On Windows, where no
program replaces another, rally-cred waits for it: Ctrl-C is the program's to obey, and the exit code is
passed on; but whoever ends rally-cred leaves the program running.
",
        windows: "No program replaces another on Windows, so rally-cred waits for this one: Ctrl-C is the program's to
obey, and its exit code is passed on whole; but whoever ends rally-cred leaves the program running. If
it does not start, the exit code is one of rally-cred's, 126 if it cannot be run, or 127 if it is not
found.
"
    ),
    "
Rally serves twelve requests of a user at once, and gateways keep to that between them. With --requests,
they leave the program its share while it runs; rally-cred then stays, and passes signals on.

Examples:
  rally-cred exec -- npm test
  rally-cred exec work --for pyral -- python3 report.py
  rally-cred exec --requests 4 -- ./sync-all
  rally-cred exec --set RALLY_BASE_URL=wsapi-url --min-validity 8h -- node mcp-server.js"
);

pub(super) const GATEWAY_HELP: &str = concat!(
    "\
The daemon opens a gateway on this machine. The program gets a key that is good there and nowhere else,
and every request that it sends through the gateway gets the token of that moment. So a program that
reads its key once goes on for as long as you are signed in; while you are not, its requests wait, and
you are notified. The key dies with the program. If the daemon crashes, it is started again, and the
gateway has the same port and key; after `rally-cred daemon stop`, it is back with the next daemon.

The program gets RALLY_API_KEY, RALLY_APIKEY and RALLY_ZSESSIONID, or what --tool and --set say.

  --tool pyral       APIKEY, and RALLY_SERVER as a host; connect
  --tool rally-node  RALLY_API_KEY; connect
  --tool clojure     API_KEY, and RALLY_HOST as an address; http
  --tool rally-tui   RALLY_APIKEY, and RALLY_SERVER as a host; the same is rally-cli; connect
  --tool ruby        RALLY_API_KEY; connect, with http_proxy too
  --tool mcp         RALLY_API_KEY, RALLY_APIKEY, and RALLY_INSTANCE as an address; http

  --via connect      HTTPS_PROXY is the gateway, which answers for Rally and passes on all else unread;
                     for programs with Rally's address in their code. Without --tool, this is the way
  --via http         the server is http://127.0.0.1:PORT
  --via https        the server is https://localhost:PORT

For connect and https, SSL_CERT_FILE, REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS and CURL_CA_BUNDLE name a
file with the authorities that the program trusts anyway, and the gateway's own; JAVA_TOOL_OPTIONS names
them to a JVM, unless a trust store is named there already.

",
    native!(
        "Signals go to the program, and its exit code is the command's; 126 if it cannot be run, or 127 if it is
    not found.",
        windows: "Ctrl-C is the program's to obey, and its exit code is passed on whole; 126 if it cannot be run, or 127
    if it is not found. Whoever ends rally-cred leaves the program running, with a key that is worth nothing."
    ),
    " A program that starts by itself uses a [gateway.NAME] of the config file, whose port and key
stay the same: see rally-cred.toml(5).

Examples:
  rally-cred gateway --tool mcp -- node mcp-server.js
  rally-cred gateway work --tool pyral -- python3 dashboard.py
  rally-cred gateway --via http --set RALLY_BASE_URL=wsapi-url ",
    native!(
        "-- ./bot",
        windows: "-- bot"
    ),
    "
  rally-cred gateway show mcp"
);

pub(super) const STATUS_HELP: &str = "\
The exit code is 0 only if every profile shown can serve a token now, without a sign-in. No daemon is
started; if none is running, the exit code is 6.

Examples:
  rally-cred status
  rally-cred status work --check
  rally-cred status --json | jq -r '.profiles[] | select(.ready) | .profile'

--json prints {\"version\":1,\"release\":…,\"pid\":…,\"config\":…,\"vault\":{…},\"profiles\":[…]} with the fields
of the message `status` in PROTOCOL.md, or {\"version\":1,\"error\":{\"kind\":…,\"what\":…,\"why\":…,\"try\":…}}.";

pub(super) const DOCTOR_HELP: &str = concat!(
    "\
The exit code is 0 only if nothing fails; otherwise it is that of the first fault. Checks that cannot
run because of another fault, or do not apply here, are marked with --.

  config         the daemon's config file is valid, and is the one that this shell names
  permissions    no other user may change the config, read the log or use the socket
  path           git finds git-credential-rally, if it is configured by name
",
    native!(
        "  socket         the socket's folder can be trusted
",
        windows: "  socket         the name of the pipe is known
"
    ),
    "  daemon         a daemon answers or can be started, and is of this release
  vault          the keyring stores an item, returns it and deletes it
  redirect_port  the port of the redirect is free
  token_command  the program that gives a profile's tokens gives one
  rally          Rally answers, and allows this IP address
  tls            the connection to Rally is trusted
  clock          this machine's clock agrees with Rally's
  sign_in        there is a token that Rally accepts, or that can be renewed
  network        the daemon has this shell's proxy and certificate variables, or reaches Rally anyway
  git            git asks this program about Rally's server, if configured to, and no other helper
  git_store      git's own store holds no password for it in plain text
",
    native!(
        "  units          the systemd units, if installed, are enabled and have not failed
",
        macos: "  units          the agent of launchd, if installed, is loaded
",
        windows: "  units          whether Windows starts the daemon when you sign in
"
    ),
    "
Examples:
  rally-cred doctor
  rally-cred doctor --json | jq -r '.checks[] | select(.verdict == \"fail\") | .fault.try'
  rally-cred doctor --report rally-cred-report.txt

--json prints {\"version\":1,\"ok\":…,\"checks\":[{\"check\":…,\"profile\":…,\"verdict\":\"pass\"|\"fail\"|\"skipped\",
\"note\":…,\"fault\":{\"kind\":…,\"what\":…,\"why\":…,\"try\":…}}]}; fields that do not apply are left out."
);

pub(super) const COMPLETIONS_HELP: &str = "\
Examples:
  eval \"$(rally-cred completions bash)\"                                  in ~/.bashrc
  eval \"$(rally-cred completions zsh)\"                                   in ~/.zshrc, after compinit
  rally-cred completions fish | source                                   in ~/.config/fish/config.fish
  rally-cred completions powershell | Out-String | Invoke-Expression     in $PROFILE";

/// The help of `keyring migrate`.
pub(crate) const KEYRING_MIGRATE_HELP: &str = "\
Every item is copied to the new place and read back. Then `keyring` in the config file is changed, and the
daemon told. Only then are the items deleted from the old place. Equal items are not written again.

If it is interrupted, run it again; once the config file names the new place, with --from and the old one:
  rally-cred keyring migrate --from os --to file
";

/// The help of `keyring repair`.
pub(crate) const KEYRING_REPAIR_HELP: &str = "\
It finds
  - items that are damaged: cut, altered, or with something else in their place. A damaged file is moved into
    the folder `damaged` beside it; elsewhere the item is deleted
  - items for profiles, servers or gateways that the config file does not name. Another config file's daemon may
    need them, so look before you say yes. They are deleted
  - items that are there several times: the newest is kept
  - what an interrupted write or check has left

Nothing is changed before you have seen it and said yes, or given --yes. What a later version of rally-cred wrote
is never touched.

Examples:
  rally-cred keyring repair
  rally-cred keyring repair work --yes
";
