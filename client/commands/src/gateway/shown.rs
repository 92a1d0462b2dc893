//! Gateways as people are shown them.
//! Does not: ask for them.
//! Used by: `gateway` and `status`.

use rally_cred_proto::{
    gateway::{GatewayStatus, OpenedGateway, Way},
    plain::plain,
};

/// A gateway and what it has passed on, as lines.
pub(crate) fn lines(gateway: &GatewayStatus) -> String {
    let GatewayStatus {
        name,
        profile,
        standing,
        port,
        via,
        kept,
        requests,
        waiting,
        bytes_up,
        bytes_down,
        renewals,
        last_error,
        fault,
    } = gateway;
    let place = port.map_or_else(|| "not open".to_owned(), |port| format!("127.0.0.1:{port}"));
    let mut text = format!("\ngateway {}  {place}\n", plain(name));
    let mut line = |name: &str, value: &str| text += &format!("  {name:<8} {value}\n");
    line("profile", &plain(profile));
    line("way in", via.map_or("http, https, connect", Way::name));
    line(
        "key",
        match (standing, kept) {
            (true, true) => "the same after a restart",
            (true, false) => "ends with the daemon",
            (false, _) => "ends with its program",
        },
    );
    let traffic =
        format!("{requests} requests, {bytes_up} bytes up, {bytes_down} bytes down, {renewals} renewals");
    line("traffic", &traffic);
    if *waiting > 0 {
        line("waiting", &format!("{waiting} requests"));
    }
    if let Some(error) = last_error {
        line("last", &plain(error));
    }
    if let Some(fault) = fault {
        line("problem", &plain(&fault.what));
        fault.why.iter().for_each(|why| line("why", &plain(why)));
        fault.remedy.iter().for_each(|remedy| line("try", &plain(&remedy.to_string())));
    }
    text
}

/// How a gateway is reached, as lines.
pub(crate) fn reached(opened: &OpenedGateway) -> String {
    let OpenedGateway { name, profile, base_url, also, port, key, authority: _, identity: _ } = opened;
    let key = key.expose();
    let also: String =
        also.iter().map(|server| format!("         by connect also for {}\n", plain(server))).collect();
    format!(
        "gateway  {}, for {} (profile {})\n{also}http     http://127.0.0.1:{port}\nhttps    https://localhost:{port}\n\
         connect  http://rally:{key}@127.0.0.1:{port}\nkey      {key}\n",
        plain(name),
        plain(base_url),
        plain(profile),
    )
}
