//! What users of other proxies reported, where no other test has it; and the table that says which test has what.
//! Does not: test what a gateway does with a request; its own crate does.
//! Used by: `gateway`.

use std::fs;

use crate::sign_in::{sign_in, with_browser};
use crate::tidy::{all_sources, document};

#[test]
fn every_report_has_a_test_that_is_there() {
    let page = document("tests/README.md");
    let (_, section) = page.split_once("\n## What users of such proxies reported\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let (_, table) = section.split_once("\n|---|---|\n").unwrap();
    let sources = all_sources();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 16, "{rows:#?}");
    for row in rows {
        let tests = row.rsplit('|').nth(1).unwrap();
        let named: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{row}");
        for name in named {
            let is_there = sources.iter().any(|(_, text)| text.contains(&format!("fn {name}(")));
            assert!(is_there, "{name}");
        }
    }
}

#[test]
fn a_program_trusts_the_systems_authorities_its_own_and_the_gateways() {
    let (sandbox, mut world) = with_browser();
    let own = world.path("own.pem");
    fs::write(&own, "of the program\n").unwrap();
    world.set("CURL_CA_BUNDLE", own.display());
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    let printed =
        ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"].map(|name| {
            let script = format!("cat \"${name}\"");
            world.client(&["gateway", "--", "sh", "-c", &script], "").succeeded().stdout
        });
    let systems = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    for bundle in printed {
        let (before, rest) = bundle.split_once("of the program\n").unwrap();
        let all = format!("{before}{rest}");
        assert!(all.contains(systems.trim()), "the system's are missing");
        let count = |text: &str| text.matches("BEGIN CERTIFICATE").count();
        assert_eq!(count(&all), count(&systems) + 1, "the gateway's is one more");
    }
}
