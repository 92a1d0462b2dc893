//! The endpoint against servers on loopback that answer with bytes written by hand.
//! Does not: reach any other machine.
//! Used by: `cargo test`.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    ops::Range,
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::*;
use crate::http::{CONNECT_IN, USER_AGENT};
use rally_cred_core::profile::{BaseUrl, RedirectUri};
use rally_cred_proto::ProfileName;

fn profile(base_url: &str, ca_file: Option<PathBuf>) -> Profile {
    let profile = Profile::new(
        ProfileName::parse("default").unwrap(),
        BaseUrl::parse(base_url).unwrap(),
        "the id".to_owned(),
        RedirectUri::parse("http://localhost:8477/callback").unwrap(),
    );
    Profile { is_default: true, ca_file, ..profile }
}

fn secret(text: &str) -> Secret {
    Secret::parse(text.to_owned()).unwrap()
}

fn code() -> TokenForm {
    TokenForm::Code { code: secret("c/d"), redirect_uri: "http://localhost:8477/callback".to_owned() }
}

/// An answer in one line: its status, `Retry-After` and body, or what went wrong.
fn line(raw: RawAnswer) -> String {
    match raw {
        RawAnswer::Arrived { status, retry_after, body, sent: _ } => {
            format!("{status} {retry_after:?} {}", String::from_utf8_lossy(&body))
        }
        RawAnswer::Failed(trouble) => format!("{trouble:?}"),
    }
}

/// Reads one whole request.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return text;
        }
    }
}

/// Answers one request on each of the next connections, and gives back the requests.
async fn serve(answers: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(request(&mut stream).await);
            stream.write_all(&answer).await.unwrap();
        }
        requests
    });
    (base_url, server)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn the_token_request_is_the_documented_form_and_nothing_else() {
    let (base_url, server) = serve(vec![http("200 OK", "{}")]).await;
    let raw = post_token(&profile(&base_url, None), &secret("s&="), &code()).await;
    assert_eq!(line(raw), "200 None {}");
    let body = "code=c%2Fd&redirect_uri=http%3A%2F%2Flocalhost%3A8477%2Fcallback&grant_type=authorization_code\
                &client_id=the+id&client_secret=s%26%3D";
    let expected = format!(
        "POST /login/oauth2/token HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         accept: */*\r\nuser-agent: {USER_AGENT}\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
        base_url.trim_start_matches("http://"),
        body.len(),
    );
    assert_eq!(server.await.unwrap(), [expected]);
}

#[tokio::test]
async fn the_user_query_carries_the_token_in_one_header_and_no_cookie_ever() {
    let greedy =
        b"HTTP/1.1 401 Unauthorized\r\nSet-Cookie: JSESSIONID=x; Path=/\r\nContent-Length: 0\r\n\r\n";
    let (base_url, server) = serve(vec![greedy.to_vec(), http("200 OK", "{}")]).await;
    assert_eq!(line(find_user(&profile(&base_url, None), &secret("_t")).await), "401 None ");
    assert_eq!(line(find_user(&profile(&base_url, None), &secret("_t")).await), "200 None {}");
    let expected = format!(
        "GET /slm/webservice/v2.0/user?fetch=UserName,DisplayName,EmailAddress,ObjectID HTTP/1.1\r\n\
         zsessionid: _t\r\naccept: */*\r\nuser-agent: {USER_AGENT}\r\nhost: {}\r\n\r\n",
        base_url.trim_start_matches("http://"),
    );
    assert_eq!(server.await.unwrap(), [expected.clone(), expected]);
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_not_sent() {
    let nobody = profile("http://127.0.0.1:1", None);
    assert_eq!(line(find_user(&nobody, &secret("a\u{7f}")).await), "BadToken");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    // The server answers one connection only: a followed redirect would be refused.
    let redirect =
        b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let (base_url, server) = serve(vec![redirect.to_vec()]).await;
    let raw = post_token(&profile(&base_url, None), &secret("s"), &code()).await;
    assert_eq!(line(raw), "307 Some(7) ");
    assert_eq!(server.await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_read_and_one_byte_more_is_not() {
    let fits = "x".repeat(LARGEST_BODY);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{LARGEST_BODY:x}\r\n{fits}\r\n1\r\nx\r\n0\r\n\r\n"
    );
    for (answer, expected) in [
        (http("200 OK", &fits), format!("200 None {fits}")),
        (http("200 OK", &format!("{fits}x")), "TooLarge".to_owned()),
        (chunked.into_bytes(), "TooLarge".to_owned()),
    ] {
        let (base_url, _server) = serve(vec![answer]).await;
        let raw = find_user(&profile(&base_url, None), &secret("t")).await;
        assert!(line(raw) == expected, "not {}", expected.get(..20).unwrap_or(&expected));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_unreachable_and_is_not_tried_again() {
    let broken = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_vec();
    for (answer, expected) in [
        (Vec::new(), "Unreachable(\"connection closed before message completed\")"),
        (b"SSH-2.0-x\r\n".to_vec(), "Unreachable(\"invalid HTTP version parsed\")"),
        (broken, "Unreachable(\"end of file before message length reached\")"),
    ] {
        let (base_url, server) = serve(vec![answer]).await;
        let raw = post_token(&profile(&base_url, None), &secret("s"), &code()).await;
        assert_eq!(line(raw), expected);
        assert_eq!(server.await.unwrap().len(), 1);
    }
    // Bound, so that nobody else gets the port, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = socket.local_addr().unwrap();
    let raw = find_user(&profile(&format!("http://{closed}"), None), &secret("t")).await;
    assert!(line(raw).starts_with("Unreachable(\"connection refused"));
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_after_the_time_limit() {
    for (scheme, limit) in [("http", ANSWER_IN), ("https", CONNECT_IN)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (send_asked, asked) = oneshot::channel();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0];
            stream.read_exact(&mut first).await.unwrap();
            send_asked.send(tokio::time::Instant::now()).unwrap();
            std::future::pending::<()>().await;
        });
        let ca = Authority::new("some authority");
        let profile = profile(&format!("{scheme}://{address}"), Some(ca.file.path().to_owned()));
        let mut ask = tokio::spawn(async move { find_user(&profile, &secret("t")).await });
        let asked = tokio::select! {
            asked = asked => asked.unwrap(),
            early = &mut ask => panic!("{scheme}: {}", line(early.unwrap())),
        };
        // From here on time passes only while everybody waits, so that 20 seconds take none.
        tokio::time::pause();
        assert_eq!(line(ask.await.unwrap()), "TimedOut", "{scheme}");
        assert!(asked.elapsed() < limit + Duration::from_secs(1), "{scheme}");
        tokio::time::resume();
        server.abort();
    }
}

#[tokio::test]
async fn an_answer_that_trickles_or_only_promises_one_is_left_after_the_same_time() {
    // A byte of the body now and then, and the beginnings that may come before an answer, without end.
    let body = ("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "x");
    for (first, again) in [body, ("", "HTTP/1.1 103 Early Hints\r\n\r\n")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let profile = profile(&format!("http://{}", listener.local_addr().unwrap()), None);
        let mut ask = tokio::spawn(async move { find_user(&profile, &secret("t")).await });
        let (mut stream, _) = tokio::select! {
            accepted = listener.accept() => accepted.unwrap(),
            early = &mut ask => panic!("{}", line(early.unwrap())),
        };
        request(&mut stream).await;
        stream.write_all(first.as_bytes()).await.unwrap();
        let asked = tokio::time::Instant::now();
        let server = tokio::spawn(async move {
            while stream.write_all(again.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        tokio::time::pause();
        assert_eq!(line(ask.await.unwrap()), "TimedOut", "{again}");
        assert!(asked.elapsed() < ANSWER_IN + Duration::from_secs(2), "{again}");
        tokio::time::resume();
        server.abort();
    }
}

#[tokio::test]
async fn an_answer_without_end_is_left_at_a_limit_whichever_part_of_it_has_none() {
    let (piece, chunk) = ("x".repeat(4096), format!("1000\r\n{}\r\n", "x".repeat(4096)));
    let head = "Unreachable(\"message head is too large\")";
    for (first, again, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", piece.as_str(), "TooLarge"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &chunk, "TooLarge"),
        ("HTTP/1.1 200 OK\r\nX: ", &piece, head),
        ("HTTP/1.1 200 OK\r\n", "X: x\r\n", head),
        ("HTTP/1.1 200 ", &piece, head),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let profile = profile(&format!("http://{}", listener.local_addr().unwrap()), None);
        let again = again.repeat(16);
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(first.as_bytes()).await.unwrap();
            while stream.write_all(again.as_bytes()).await.is_ok() {}
        });
        assert_eq!(line(find_user(&profile, &secret("t")).await), expected, "{first}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_unpacked_so_that_nothing_can_swell() {
    for packing in ["gzip", "deflate", "br", "zstd"] {
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: {packing}\r\nContent-Length: 6\r\n\r\npacked");
        let (base_url, _server) = serve(vec![answer.into_bytes()]).await;
        assert_eq!(
            line(find_user(&profile(&base_url, None), &secret("t")).await),
            "200 None packed",
            "{packing}"
        );
    }
}

/// A certificate authority with its `ca_file`.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(params.self_signed(&key).unwrap().pem().as_bytes()).unwrap();
        Self { issuer: rcgen::Issuer::new(params, key), file }
    }

    /// A server for one connection, with a certificate for this host and for these years.
    async fn serve(&self, host: &str, years: Range<i32>) -> String {
        let mut params = rcgen::CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate ends the handshake.
            if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                request(&mut stream).await;
                stream.write_all(&http("200 OK", "{}")).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        format!("https://127.0.0.1:{port}")
    }
}

#[tokio::test]
async fn only_a_certificate_of_a_known_authority_for_this_host_and_time_is_trusted() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    for (ca_file, host, years, expected) in [
        (&ours, "127.0.0.1", 1990..4000, "200 None {}"),
        (&other, "127.0.0.1", 1990..4000, "Tls(UnknownAuthority)"),
        (
            &ours,
            "elsewhere.example.com",
            1990..4000,
            "Tls(OtherHost(\"its certificate is for elsewhere.example.com, and not for 127.0.0.1\"))",
        ),
        (&ours, "127.0.0.1", 1990..2000, "Tls(Expired(\"its certificate ended at 2000-01-01T00:00:00Z, and"),
        (
            &ours,
            "127.0.0.1",
            3000..4000,
            "Tls(NotYetValid(\"its certificate begins at 3000-01-01T00:00:00Z, and this machine's clock says 2",
        ),
    ] {
        let base_url = ours.serve(host, years.clone()).await;
        let profile = profile(&base_url, Some(ca_file.file.path().to_owned()));
        let raw = line(find_user(&profile, &secret("t")).await);
        assert!(raw.starts_with(expected), "{host} {years:?}: {raw}");
    }
    let base_url = ours.serve("127.0.0.1", 1990..4000).await;
    let raw = find_user(&profile(&base_url, None), &secret("t")).await;
    let expected = if cfg!(target_os = "linux") && env::var_os(BARE).is_some() {
        "Tls(NoAuthorities(\"no CA certificates were loaded from the system\"))"
    } else {
        "Tls(UnknownAuthority)"
    };
    assert_eq!(line(raw), expected);
}

#[tokio::test]
async fn a_plain_server_behind_an_https_address_is_a_tls_trouble() {
    let ca = Authority::new("ours");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&http("400 Bad Request", "speak http")).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });
    let profile = profile(&base_url, Some(ca.file.path().to_owned()));
    let raw = find_user(&profile, &secret("t")).await;
    assert_eq!(line(raw), "Tls(NotTls)");
    server.abort();
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        name.to_owned()
    };
    for (name, why) in [
        (write("empty", ""), "it holds no certificate"),
        (
            write("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "a certificate in it is broken",
        ),
        (write("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n"), "it is not PEM"),
        ("absent".to_owned(), "no such file or directory (os error 2)"),
        (".".to_owned(), "it is not an ordinary file"),
    ] {
        let path = folder.path().join(name);
        let raw = find_user(&profile("https://127.0.0.1:1", Some(path.clone())), &secret("t")).await;
        let expected = SendTrouble::BadCaFile(format!("{}: {why}", path.display()));
        assert_eq!(line(raw), format!("{expected:?}"));
    }
}

#[test]
fn a_retry_after_may_be_seconds_or_a_date() {
    let now = "2030-01-01T00:00:00Z".parse().unwrap();
    for (text, expected) in [
        ("0", Some(0)),
        (" 120 ", Some(120)),
        ("99999999999", Some(u32::MAX)),
        ("Tue, 01 Jan 2030 00:01:00 GMT", Some(60)),
        ("Mon, 31 Dec 2029 00:00:00 GMT", Some(0)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
    ] {
        assert_eq!(parse_retry_after(now, text), expected, "{text}");
    }
}

/// Set in the process that runs the tests above once more on a bare machine behind a proxy.
const BARE: &str = "RALLY_CRED_TEST_BARE";

#[test]
fn all_this_holds_without_system_certificates_and_behind_a_proxy_that_must_not_see_loopback() {
    if env::var_os(BARE).is_some() {
        return;
    }
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy_url = format!("http://{}", proxy.local_addr().unwrap());
    let seen = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for stream in proxy.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut first = String::new();
            stream.read_line(&mut first).unwrap();
            if first == "END\r\n" {
                break;
            }
            seen.push(first);
            stream.get_mut().write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
        seen
    });
    let run = Command::new(env::current_exe().unwrap())
        .arg("endpoint::tests::")
        .env(BARE, "1")
        .env("SSL_CERT_FILE", "/absent")
        .env("SSL_CERT_DIR", "/absent")
        .envs(
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"]
                .map(|name| (name, &proxy_url)),
        )
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    std::net::TcpStream::connect(proxy_url.trim_start_matches("http://"))
        .unwrap()
        .write_all(b"END\r\n")
        .unwrap();
    let seen = seen.join().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    assert_eq!(seen, ["CONNECT rally.invalid:443 HTTP/1.1\r\n"]);
}

#[tokio::test]
async fn another_host_is_reached_through_the_proxy_of_the_system() {
    // Without that proxy the request would leave this machine.
    if env::var_os(BARE).is_some() {
        let ca = Authority::new("ours");
        let profile = profile("https://rally.invalid", Some(ca.file.path().to_owned()));
        let raw = find_user(&profile, &secret("t")).await;
        let told = line(raw);
        assert!(told.starts_with("Proxy(") && told.ends_with("WantsPassword)"), "{told}");
    }
}
