//! The requests of http_desync_guardian, which others collected and classified, through the guard and the HTTP library.
//! Does not: hold them; `tests/tools/install` fetches them into target/tools.
//! Used by: `guard`, in tests.

use serde::Deserialize;

use super::{Malformed, agreement::agree};

#[derive(Deserialize)]
struct Case {
    name: String,
    tier: String,
    reason: String,
    head: String,
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/desync.json");
    let text = std::fs::read_to_string(path).expect("run tests/tools/install first");
    serde_json::from_str(&text).unwrap()
}

/// What may follow a head, if somebody ends it elsewhere than another: a request that nobody has sent.
const ENDINGS: [&str; 4] = [
    "",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "5\r\nGET /\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// The head in bytes, as it stands, and with a Host, which the cases leave out.
fn heads(case: &Case) -> [Vec<u8>; 2] {
    let (line, fields) = case.head.split_once("\r\n").unwrap();
    [format!("{}\r\n", case.head).into(), format!("{line}\r\nHost: a\r\n{fields}\r\n").into()]
}

#[test]
fn no_request_of_the_corpus_reaches_the_service_as_two_or_with_another_framing() {
    let cases = cases();
    assert!(cases.len() > 150, "{}", cases.len());
    let (mut passed, mut refused) = (0, 0);
    for case in &cases {
        for head in heads(case) {
            for ending in ENDINGS {
                match agree(&[&head, ending.as_bytes()].concat()).1 {
                    None => passed += 1,
                    Some(_) => refused += 1,
                }
            }
        }
    }
    println!("{} cases, {passed} streams passed, {refused} refused", cases.len());
}

#[test]
fn what_the_corpus_calls_severe_is_refused_and_what_it_calls_compliant_passes() {
    for case in cases() {
        let [_, head] = heads(&case);
        let refused = agree(&head).1;
        match case.tier.as_str() {
            "Severe" => assert!(refused.is_some(), "{}: {}", case.name, case.reason),
            // The guard takes no coding but chunked, and no target that the library would refuse.
            "Compliant" => assert!(
                matches!(refused, None | Some(Malformed::Encoding | Malformed::Target)),
                "{}: {refused:?}",
                case.name
            ),
            _ => (),
        }
    }
}
