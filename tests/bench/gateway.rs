//! What the gateway adds to a request, beside nginx, which swaps the same header on the way to the same server over TLS.
//! Does not: test what the gateway does.
//! Used by: `main`. Needs Debian's nginx-light, wrk and openssl.

use std::{fs, path::Path, process::Command};

use rally_cred_tests::world::{self, Running, World, free_port};

use crate::{
    Effort,
    report::{Report, as_float, median},
};

/// Connections at once: as many requests as the gateway has under way for one Rally user.
const AT_ONCE: u32 = 12;

/// Measured so often, in turn, and the median counts.
const TURNS: usize = 5;

/// Bytes of the large body.
const LARGE: u64 = 2 << 30;

/// nginx before the sandbox, where Rally would be: it answers what is measured itself. As a proxy it speaks HTTP/1.1 to
/// servers, so the two are compared by that; the other port shows what HTTP/2 costs.
const RALLY: &str = "
  server {
    listen 127.0.0.1:RALLY_PORT ssl;
    listen 127.0.0.1:RALLY_HTTP_2_PORT ssl http2;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    keepalive_requests 100000000;
    client_max_body_size 0;
    location = /slm/kib { default_type application/json; alias FOLDER/kib; }
    location = /slm/large { default_type application/octet-stream; alias FOLDER/large; }
    location = /slm/sink { proxy_pass http://127.0.0.1:RALLY_SINK; proxy_request_buffering off; }
    location / { proxy_pass SANDBOX; proxy_set_header Host $http_host; }
  }
  server { listen 127.0.0.1:RALLY_SINK; client_max_body_size 0; location / { return 204; } }
";

/// nginx in the gateway's place.
const PROXY: &str = "
  upstream rally { server 127.0.0.1:RALLY_PORT; keepalive 64; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:PROXY_PORT;
    keepalive_requests 100000000;
    location / {
      proxy_pass https://rally;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host 127.0.0.1:RALLY_PORT;
      proxy_set_header ZSESSIONID TOKEN;
      proxy_ssl_trusted_certificate cert.pem;
      proxy_ssl_verify on;
      proxy_ssl_name 127.0.0.1;
    }
  }
";

pub(crate) fn measure(effort: Effort, report: &mut Report) -> Result<(), String> {
    let sandbox = world::sandbox();
    let mut world = World::new();
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let [rally_port, http_2_port, sink_port, proxy_port] = ports.map(|port| port.to_string());
    let folder = world.path("nginx");
    fs::create_dir(&folder).map_err(|err| err.to_string())?;
    make_certificate(&folder)?;
    fs::write(folder.join("kib"), vec![b'x'; 1024]).map_err(|err| err.to_string())?;
    let large = fs::File::create(folder.join("large")).map_err(|err| err.to_string())?;
    large.set_len(LARGE).map_err(|err| err.to_string())?;
    let fill = |text: &str, token: &str| {
        text.replace("RALLY_PORT", &rally_port)
            .replace("RALLY_HTTP_2_PORT", &http_2_port)
            .replace("RALLY_SINK", &sink_port)
            .replace("PROXY_PORT", &proxy_port)
            .replace("SANDBOX", sandbox.base_url())
            .replace("FOLDER", &folder.display().to_string())
            .replace("TOKEN", token)
    };
    let _rally = start_nginx(&world, &folder, "rally", &fill(RALLY, ""))?;

    let authority = folder.join("cert.pem").display().to_string();
    let rally = format!("https://127.0.0.1:{rally_port}");
    let profiles = [("default", rally.clone()), ("http-2", format!("https://127.0.0.1:{http_2_port}"))];
    let config = profiles.map(|(name, base_url)| {
        let profile = world::profile_for(&sandbox).replace(sandbox.base_url(), &base_url);
        format!("{}ca_file = \"{authority}\"\n", profile.replace("default", name))
    });
    world.configure(&config.concat());
    world.set("PRESS_CA", &authority);
    world.set("BROWSER", world::programs().join("press-allow").display());
    world.set("DISPLAY", ":0");
    let daemon = world.start_daemon();
    for profile in ["default", "http-2"] {
        let login =
            world.client(&["login", profile, "--client-secret-stdin"], &sandbox.options().client_secret);
        if login.code != Some(0) {
            return Err(format!("the sign-in failed: {login:?}"));
        }
    }
    let token = world.client(&["get", "--format", "token"], "");
    let idle = world::proportional_set_size(daemon.0.id())?;
    let _proxy = start_nginx(&world, &folder, "proxy", &fill(PROXY, token.stdout.trim_end()))?;

    let gateways = [Gateway::start(&world, "default")?, Gateway::start(&world, "http-2")?];
    let [gateway, http_2] = &gateways;
    let proxy = format!("http://127.0.0.1:{proxy_port}");
    let routes = [
        ("straight to the server", rally.as_str(), gateway),
        ("nginx", &proxy, gateway),
        ("gateway", &gateway.base_url, gateway),
        ("gateway, HTTP/2 to the server", &http_2.base_url, http_2),
    ];
    let mut found = vec![Vec::new(); routes.len()];
    for _ in 0..TURNS {
        for ((_, base_url, gateway), found) in routes.iter().zip(&mut found) {
            let latency = load(&world, base_url, &gateway.key, 1, effort)?.median_micros;
            found.push((latency, load(&world, base_url, &gateway.key, AT_ONCE, effort)?.per_second));
        }
    }
    report.line(&format!("\n== The gateway: answers of 1 KiB, median of {TURNS}"));
    report.line(&format!("{:<42} {:>10} {:>10}", "", "latency µs", "a second"));
    let mut medians = Vec::new();
    for ((name, ..), found) in routes.iter().zip(found) {
        let (latencies, rates): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let (latency, rate) = (median(latencies), median(rates));
        report.line(&format!("{name:<42} {latency:>10.0} {rate:>10.0}"));
        medians.push((latency, rate));
    }
    if let [straight, nginx, ours, ..] = medians.as_slice() {
        let added = (ours.0 - straight.0) / (nginx.0 - straight.0);
        report.at_most("latency that the gateway adds, to nginx's", added, 1.3, "times");
        report.at_least("answers of 1 KiB a second, to nginx's", ours.1 / nginx.1, 0.8, "times");
    }
    memory(&world, &gateways, &daemon, idle, effort, report)
}

/// Memory after more and more requests, and during a large body in each direction.
fn memory(
    world: &World,
    gateways: &[Gateway; 2],
    daemon: &Running,
    idle: u64,
    effort: Effort,
    report: &mut Report,
) -> Result<(), String> {
    let [gateway, http_2] = gateways;
    let size = || world::proportional_set_size(daemon.0.id());
    report.line("\n== The daemon's memory with a gateway (PSS in KiB)");
    report.line(&format!("{:<42} {idle:>10}", "before there was one"));
    let first = size()?;
    report.line(&format!("{:<42} {first:>10}", "after the load above"));
    let mut requests = 0;
    while requests < effort.gateway_requests {
        requests += load(world, &gateway.base_url, &gateway.key, AT_ONCE, effort)?.requests;
    }
    let later = size()?;
    report.line(&format!("{:<42} {later:>10}", format!("after {requests} requests more")));
    report.at_most("growth over these requests", as_float(later.saturating_sub(first)), 256.0, "KiB");
    for (name, gateway, arguments) in [
        ("2 GiB down", gateway, vec!["-o", "/dev/null", "/slm/large"]),
        ("2 GiB up", gateway, vec!["-T", "large", "/slm/sink"]),
        ("2 GiB down by HTTP/2", http_2, vec!["-o", "/dev/null", "/slm/large"]),
    ] {
        let header = format!("ZSESSIONID: {}", gateway.key);
        let mut arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        if let Some(path) = arguments.last_mut() {
            *path = format!("{}{path}", gateway.base_url);
        }
        if let Some(file) = arguments.iter_mut().find(|word| *word == "large") {
            *file = world.path("nginx/large").display().to_string();
        }
        let mut words = vec!["-sS", "--fail", "-H", &header];
        words.extend(arguments.iter().map(String::as_str));
        let ended = world.run("curl", &words, "");
        if ended.code != Some(0) {
            return Err(format!("{name}: {ended:?}"));
        }
        let held = size()?;
        report.line(&format!("{:<42} {held:>10}", format!("after {name}")));
        report.at_most(&format!("growth by {name}"), as_float(held.saturating_sub(later)), 512.0, "KiB");
    }
    Ok(())
}

/// A gateway for a program that only waits, and what that program was given.
struct Gateway {
    base_url: String,
    key: String,
    _program: Running,
}

impl Gateway {
    fn start(world: &World, profile: &str) -> Result<Self, String> {
        let tell = "echo $RALLY_INSTANCE; echo $RALLY_API_KEY; exec cat";
        let mut program =
            world.start("rally-cred", &["gateway", profile, "--tool", "mcp", "--", "sh", "-c", tell]);
        let mut line = || program.next_line_of_stdout().ok_or("the gateway did not start");
        let (base_url, key) = (line()?, line()?);
        Ok(Self { base_url, key, _program: program })
    }
}

struct Load {
    median_micros: f64,
    per_second: f64,
    requests: u64,
}

/// Asks for the small body for a while, as fast as it goes.
fn load(world: &World, base_url: &str, key: &str, at_once: u32, effort: Effort) -> Result<Load, String> {
    let (at_once, seconds) = (format!("-c{at_once}"), format!("-d{}s", effort.gateway_seconds));
    let (key, address) = (format!("ZSESSIONID: {key}"), format!("{base_url}/slm/kib"));
    let ended = world.run("wrk", &["-t1", &at_once, &seconds, "--latency", "-H", &key, &address], "");
    let after = |label: &str| ended.stdout.split_once(label)?.1.split_whitespace().next();
    let requests =
        ended.stdout.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok());
    let measured =
        after("     50%").and_then(micros).zip(after("Requests/sec:").and_then(|rate| rate.parse().ok()));
    match (measured, requests) {
        (Some((median_micros, per_second)), Some(requests)) if !ended.stdout.contains("Non-2xx") => {
            Ok(Load { median_micros, per_second, requests })
        }
        _ => Err(format!("wrk at {base_url}: {ended:?}")),
    }
}

/// A duration as wrk writes it.
fn micros(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<f64>().ok().map(|number| number * factor);
        }
    }
    None
}

/// A certificate that is its own authority.
fn make_certificate(folder: &Path) -> Result<(), String> {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-keyout", "key.pem", "-out", "cert.pem", "-days", "30", "-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .output()
        .map_err(|err| format!("cannot run openssl: {err}"))?;
    if made.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&made.stderr).into_owned()) }
}

/// nginx as one process, with these servers.
fn start_nginx(world: &World, folder: &Path, name: &str, servers: &str) -> Result<Running, String> {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
        .concat();
    let path = folder.join(format!("{name}.conf"));
    let text = format!(
        "daemon off; master_process off; pid {name}.pid; error_log stderr notice;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n{temporary}{servers}}}\n"
    );
    fs::write(&path, text).map_err(|err| err.to_string())?;
    let mut nginx =
        world.start("nginx", &["-p", &folder.display().to_string(), "-c", &path.display().to_string()]);
    // It says what system it runs on once it listens.
    while let Some(line) = nginx.next_line_of_stderr() {
        if line.contains(" OS: ") {
            return Ok(nginx);
        }
    }
    Err(format!("nginx did not start: {:?}", nginx.end()))
}
