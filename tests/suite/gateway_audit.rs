//! What the log says of the requests that go through a gateway, and what it does not.
//! Does not: test what else the log says of a gateway.
//! Used by: `main`.

use crate::sign_in::signed_in;

#[test]
fn the_log_has_a_line_of_each_request_and_neither_query_nor_header_nor_body() {
    let (_sandbox, world, _daemon) = signed_in();
    let ask = r#"curl --silent --output body --header "ZSESSIONID: $RALLY_API_KEY" --header "X-Note: canary-header" \
        --data '{"Defect":{"Name":"canary-body"}}' "$0/slm/webservice/v2.0/defect/create?key=canary-query"
        curl --silent --output body --header "ZSESSIONID: _canary-key" "$0/slm/webservice/v2.0/%1b%5b31muser?canary-query"
        echo "$RALLY_API_KEY""#;
    let words = ["gateway", "--via", "http", "--set", "SERVER=base-url", "--", "sh", "-c"];
    let ask = ask.replace("$0", "$SERVER");
    let key = world.client(&[&words[..], &[&ask]].concat(), "").succeeded().stdout;
    let log = world.logged(" status=401");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("answered a request")).collect();
    let [created, refused] = lines[..] else { panic!("{log}") };
    for said in ["gateway=\"sh-", "method=\"POST\"", "path=\"/slm/webservice/v2.0/defect/create\"", "status="]
    {
        assert!(created.contains(said), "{said}: {created}");
    }
    assert!(refused.contains("path=\"/slm/webservice/v2.0/%1b%5b31muser\" status=401"), "{refused}");
    assert!(!log.contains("canary") && !log.contains(key.trim()), "{log}");
}
