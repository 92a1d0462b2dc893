//! What programs that nobody here wrote make of the authority: OpenSSL, curl, Python and Node trust what the gateway
//! shows, and refuse a certificate for another name even from one who has the authority's key.
//! Does not: test the gateway itself.
//! Used by: `authority`, in tests.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Command, Output},
    sync::Arc,
    thread::{self, JoinHandle},
    time::SystemTime,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, sign::SingleCertAndKey};

use super::{Authority, Names, san};

const HOST: &str = "rally1.rallydev.com";
const EVIL: &str = "evil.example";

/// Serves one connection on loopback: a handshake, and a page if a request comes.
fn serve_one(config: ServerConfig) -> (SocketAddr, JoinHandle<bool>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let place = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        let mut head = [0; 16];
        let was_asked = stream.read_exact(&mut head).is_ok();
        if was_asked {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        was_asked
    });
    (place, served)
}

/// A program that connects to a place, with a name in mind, and trusts what is in a file only.
type Program = fn(place: SocketAddr, name: &str, bundle: &Path) -> Command;

fn curl(place: SocketAddr, name: &str, bundle: &Path) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--cacert"]).arg(bundle);
    command.arg("--resolve").arg(format!("{name}:{}:127.0.0.1", place.port()));
    command.arg(format!("https://{name}:{}/", place.port()));
    command
}

fn openssl(place: SocketAddr, name: &str, bundle: &Path) -> Command {
    let script = r#"printf 'GET / HTTP/1.1\r\n\r\n' | openssl s_client -quiet -verify_quiet -verify_return_error \
        -x509_strict -connect "$1" -verify_"$2" "$3" -CAfile "$4" -no-CApath -no-CAstore"#;
    let kind = if name.parse::<Ipv4Addr>().is_ok() { "ip" } else { "hostname" };
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", &place.to_string(), kind, name]).arg(bundle);
    command
}

fn python(place: SocketAddr, name: &str, bundle: &Path) -> Command {
    let script = "import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[3])
context.verify_flags |= ssl.VERIFY_X509_STRICT
raw = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
stream = context.wrap_socket(raw, server_hostname=sys.argv[2])
stream.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')
assert stream.recv(8) == b'HTTP/1.1'";
    let mut command = Command::new("python3");
    command.args(["-c", script, &place.port().to_string(), name]).arg(bundle);
    command
}

fn node(place: SocketAddr, name: &str, bundle: &Path) -> Command {
    let script = "const [port, name, bundle] = process.argv.slice(1);
const servername = /^[0-9.]+$/.test(name) ? '' : name;
const options = {host: '127.0.0.1', port, servername, ca: require('fs').readFileSync(bundle)};
options.checkServerIdentity = (_, cert) => require('tls').checkServerIdentity(name, cert);
const stream = require('tls').connect(options, () => stream.write('GET / HTTP/1.1\\r\\n\\r\\n'));
stream.on('data', () => process.exit(0));
stream.on('error', (trouble) => { console.error(trouble); process.exit(1); });";
    let mut command = Command::new("node");
    command.args(["-e", script, &place.port().to_string(), name]).arg(bundle);
    command
}

const PROGRAMS: [(&str, Program); 4] =
    [("curl", curl), ("openssl", openssl), ("python", python), ("node", node)];

/// Runs one against a server with this configuration.
fn run(program: Program, name: &str, authority: &Authority, config: ServerConfig) -> (Output, bool) {
    let home = tempfile::tempdir().unwrap();
    let bundle = home.path().join("bundle.pem");
    std::fs::write(&bundle, authority.certificate_pem()).unwrap();
    let (place, served) = serve_one(config);
    let mut command = program(place, name, &bundle);
    let output = command.env("HOME", home.path()).output().unwrap();
    (output, served.join().unwrap())
}

#[test]
fn programs_trust_what_the_gateway_shows() {
    let authority = Arc::new(Authority::fresh(&[HOST], SystemTime::now()).unwrap());
    for (program, by) in PROGRAMS {
        let server = Names::Server(HOST.to_owned());
        for (name, names) in [("127.0.0.1", Names::Own), ("localhost", Names::Own), (HOST, server)] {
            let (output, was_asked) = run(by, name, &authority, authority.tls(names).unwrap());
            assert!(output.status.success() && was_asked, "{program} {name}: {output:?}");
        }
    }
}

#[test]
fn programs_refuse_a_certificate_for_another_name_from_one_who_has_the_key() {
    let authority = Authority::fresh(&[HOST], SystemTime::now()).unwrap();
    for (program, by) in PROGRAMS {
        let leaf = authority.certify(&[san(EVIL).unwrap()], SystemTime::now()).unwrap();
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(leaf)));
        let (output, was_asked) = run(by, EVIL, &authority, config);
        assert!(!output.status.success() && !was_asked, "{program}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(said.contains("permitted subtree violation"), "{program}: {said}");
    }
}
