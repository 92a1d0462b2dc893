//! Clients in languages whose toolkits are not installed here: each does what its toolkit's source does that matters to a
//! gateway.
//! Does not: stand for those toolkits in anything else.
//! Used by: the suite.

use std::fs;

use rally_cred_tests::sandbox::{Endpoint, Fault};

use super::Stage;

/// As Ruby's rally_api: it takes a base URL, follows addresses as given, and takes none for one that is not of https.
const LIKE_RUBY: &str = r#"
import json, os, re, sys, urllib.request

def get(url):
    assert re.match("^https://.+/slm/webservice/", url), url
    request = urllib.request.Request(url, headers={"ZSESSIONID": os.environ["RALLY_API_KEY"]})
    return json.load(urllib.request.urlopen(request))

for line in sys.stdin:
    answer = get(os.environ["RALLY_BASE_URL"] + "/slm/webservice/v2.0/defect?fetch=Name&pagesize=2")
    followed = [get(found["_ref"])["Defect"] for found in answer["QueryResult"]["Results"]]
    print([found["FormattedID"] for found in followed], followed[0]["Project"]["_ref"], flush=True)
"#;

#[test]
fn a_client_like_rubys_follows_addresses_of_https_back_to_the_gateway_and_outlives_its_token() {
    let stage = Stage::new();
    let words = ["gateway", "--via", "https", "--set", "RALLY_BASE_URL=base-url", "--set", "RALLY_API_KEY"];
    let mut client =
        stage.world.start("rally-cred", &[&words[..], &["--", "python3", "-c", LIKE_RUBY]].concat());
    for _ in 0..2 {
        let answer = client.try_ask("ask").unwrap();
        assert!(answer.starts_with("['DE1', 'DE2'] https://localhost:"), "{answer}");
        stage.sandbox.expire_tokens();
    }
    let log = stage.sandbox.log();
    let paths = log.iter().filter(|entry| entry.path.starts_with("/slm/webservice/v2.0/defect/"));
    assert!(paths.count() >= 4);
}

/// As Java's toolkit: a URI in code. A JVM minds no proxy, and has its own list of authorities.
const JAVA: &str = r#"
import java.net.*;
import java.util.Scanner;

class Client {
    public static void main(String[] arguments) throws Exception {
        var lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            lines.nextLine();
            var url = new URI(System.getenv("RALLY_BASE_URL") + "/slm/webservice/v2.0/defect").toURL();
            var connection = (HttpURLConnection) url.openConnection();
            connection.setRequestProperty("ZSESSIONID", System.getenv("RALLY_API_KEY"));
            System.out.println(connection.getResponseCode() + " " + connection.getResponseMessage());
        }
    }
}
"#;

#[test]
fn a_program_in_java_outlives_its_token_by_http_and_https_and_sees_reasons_in_the_status_line() {
    let stage = Stage::new();
    if stage.world.command("java").arg("-version").output().is_err() {
        eprintln!("not tried: there is no java");
        return;
    }
    fs::write(stage.world.path("Client.java"), JAVA).unwrap();
    for via in ["http", "https"] {
        let words = ["gateway", "--via", via, "--set", "RALLY_BASE_URL=base-url", "--set", "RALLY_API_KEY"];
        let java = ["--", "java", "Client.java"];
        let mut client = stage.world.start("rally-cred", &[&words[..], &java].concat());
        for _ in 0..2 {
            assert_eq!(client.try_ask("ask").as_deref(), Some("200 OK"), "{via}");
            stage.sandbox.expire_tokens();
        }
        stage.sandbox.fault(Endpoint::Wsapi, Fault::Drop, None);
        assert_eq!(client.try_ask("ask").as_deref(), Some("502 Server Broke Off"), "{via}");
        stage.sandbox.clear_faults();
    }
}

/// How many certificates a JVM is led to, as OpenSSL reads them, and how many other programs are.
const COUNTED: &str = r#"
eval "set -- $JAVA_TOOL_OPTIONS"
openssl pkcs12 -in "${1#-Djavax.net.ssl.trustStore=}" -nokeys -nomacver -passin pass: 2>/dev/null | grep -c BEGIN
grep -c BEGIN "$SSL_CERT_FILE""#;

#[test]
fn a_jvm_is_led_to_the_same_certificates_as_other_programs() {
    let stage = Stage::new();
    let counted = stage.run_behind(&["--via", "https"], &["sh", "-c", COUNTED]);
    let [java, others] = counted.stdout.lines().collect::<Vec<_>>()[..] else { panic!("{counted:?}") };
    assert_eq!(java, others);
    assert!(others.parse::<u32>().unwrap() > 1, "{others}");
}
