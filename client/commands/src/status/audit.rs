//! `rally-cred status --audit`: who was given a token, and who was refused one.
//! Does not: decide, or keep anything; the daemon does.
//! Used by: `status`, of which this is a part.

use rally_cred::{connection::Connection, output::Output};
use rally_cred_proto::{Deadline, Event, Fault, audit::Decision, message::Audit, plain::plain};
use serde::Serialize;

use super::{PATIENCE, moment};
use crate::terminal::Terminal;

/// What `--json` prints beside `version`.
#[derive(Serialize)]
struct Shown {
    audit: Vec<Decision>,
}

pub(super) fn run(json: bool, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut audit = Vec::new();
    let asked = Connection::new(sys, false).ask(Audit, &mut Deadline::after(PATIENCE), &mut |event| {
        if let Event::Decision(texts) = event {
            audit.push(Decision::of_texts(texts));
        }
    });
    output.or_json_fault(asked, json)?;
    if json {
        output.answer_json(&Shown { audit })?;
    } else if audit.is_empty() {
        output.tell("nobody has asked for a token since the daemon started\n")?;
    } else {
        output.tell(audit.iter().map(line).collect::<String>())?;
    }
    Ok(0)
}

/// When, what, whose, and who asked; then, on a line of its own, why not.
fn line(decision: &Decision) -> String {
    let Decision { at, verdict, why, kind: _, profile, server, pid, uid, exe, caller, gateway, forwarded } =
        decision;
    let mut line = format!("{}  {}", moment(*at), plain(&verdict.replace('_', " ")));
    let who = match (caller, exe) {
        (Some(caller), _) => caller.clone(),
        (None, Some(exe)) => format!("{exe} (for whom is not certain)"),
        (None, None) => "a program that is not known".to_owned(),
    };
    let parts = [
        profile.as_ref().map(|profile| format!("profile {profile}")),
        server.as_ref().map(|server| format!("for {server}")),
        Some(who),
        pid.zip(*uid).map(|(pid, uid)| format!("(process {pid}, user {uid})")),
        gateway.as_ref().map(|gateway| format!("by gateway {gateway}")),
        forwarded.then(|| "by the forwarded socket".to_owned()),
    ];
    line.extend(parts.iter().flatten().map(|part| format!("  {}", plain(part))));
    line.extend(why.iter().map(|why| format!("\n    {}", plain(why))));
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_what_whose_and_for_whom_and_the_next_one_why_not() {
        let text = |text: &str| Some(text.to_owned());
        let handed = Decision {
            at: 1_780_000_000,
            verdict: "token".to_owned(),
            profile: text("work"),
            pid: Some(71),
            uid: Some(1000),
            exe: text("/usr/bin/rally-cred"),
            caller: text("/usr/bin/git"),
            ..Decision::default()
        };
        assert_eq!(
            line(&handed),
            "2026-05-28T20:26:40Z  token  profile work  /usr/bin/git  (process 71, user 1000)\n"
        );
        let refused = Decision {
            verdict: "refused".to_owned(),
            why: text("rally-cred is locked"),
            caller: None,
            forwarded: true,
            ..handed
        };
        assert_eq!(
            line(&refused),
            "2026-05-28T20:26:40Z  refused  profile work  /usr/bin/rally-cred (for whom is not certain)  \
             (process 71, user 1000)  by the forwarded socket\n    rally-cred is locked\n"
        );
        let of_gateway = Decision { gateway: text("mcp\u{1b}[2J"), ..Decision::default() };
        assert_eq!(
            line(&of_gateway),
            "1970-01-01T00:00:00Z    a program that is not known  by gateway mcp[2J\n"
        );
    }
}
