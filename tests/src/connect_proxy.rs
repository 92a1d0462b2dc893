//! A proxy as organisations have one between their people and the world: HTTP's CONNECT, and SOCKS 5.
//! Does not: look names up; whatever host it is asked for, it connects to that port of this machine.
//! Used by: the tests of what the daemon does behind a proxy.
#![expect(clippy::expect_used, reason = "a proxy that cannot be made is the end of its test")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rally_cred_proto::unpoisoned;

/// How a proxy treats those who come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It connects everybody.
    Open,
    /// It connects those who know `user` and `canary-password`.
    AsksForPassword,
    /// It connects nobody.
    Refuses,
    /// It hangs up, as what is no proxy does.
    HangsUp,
}

/// The password that [`Manner::AsksForPassword`] wants, which must not be seen anywhere.
pub const PASSWORD: &str = "canary-password";

/// `user:canary-password`, as HTTP sends it.
const AUTHORIZATION: &str = "proxy-authorization: Basic dXNlcjpjYW5hcnktcGFzc3dvcmQ=";

/// A running proxy. It ends with the test's process.
#[derive(Debug)]
pub struct ConnectProxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Starts one on a free port of this machine.
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let notes = Arc::clone(&notes);
                // A client that goes away in the middle is its own affair.
                thread::spawn(move || serve(client, manner, &notes).ok());
            }
        });
        Self { port, asked }
    }

    /// Its host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The hosts and ports that it was asked for so far.
    pub fn asked(&self) -> Vec<String> {
        unpoisoned(&self.asked).clone()
    }
}

fn serve(client: TcpStream, manner: Manner, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let is_socks = reader.fill_buf()?.first() == Some(&5);
    let (target, is_known) = if is_socks { read_socks(&mut reader)? } else { read_connect(&mut reader)? };
    unpoisoned(asked).push(target.clone());
    let mut client = client;
    let refusal: &[u8] = match manner {
        Manner::AsksForPassword if !is_known => b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        Manner::Refuses => b"HTTP/1.1 403 Forbidden\r\n\r\n",
        Manner::HangsUp => return Ok(()),
        Manner::Open | Manner::AsksForPassword => b"",
    };
    if !refusal.is_empty() {
        return client.write_all(refusal);
    }
    let port = target.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    client.write_all(if is_socks { &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0] } else { b"HTTP/1.1 200 OK\r\n\r\n" })?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client);
    thread::spawn(move || {
        io::copy(&mut from_server, &mut to_client).ok();
        to_client.shutdown(Shutdown::Both).ok();
    });
    let mut to_server = server;
    io::copy(&mut reader, &mut to_server).ok();
    to_server.shutdown(Shutdown::Both)
}

/// Reads `CONNECT host:port` with its header.
fn read_connect(reader: &mut impl BufRead) -> io::Result<(String, bool)> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut is_known = false;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        is_known |= line.trim_end().eq_ignore_ascii_case(AUTHORIZATION);
        if line.trim_end().is_empty() {
            break;
        }
    }
    Ok((first.split(' ').nth(1).unwrap_or_default().to_owned(), is_known))
}

/// Reads a greeting and a request of SOCKS 5 (RFC 1928) for a host by its name.
fn read_socks(stream: &mut BufReader<TcpStream>) -> io::Result<(String, bool)> {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting)?;
    io::copy(&mut stream.by_ref().take(u64::from(greeting[1])), &mut io::sink())?;
    stream.get_mut().write_all(&[5, 0])?;
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let mut host = vec![0; usize::from(head[4])];
    stream.read_exact(&mut host)?;
    let mut port = [0; 2];
    stream.read_exact(&mut port)?;
    Ok((format!("{}:{}", String::from_utf8_lossy(&host), u16::from_be_bytes(port)), false))
}
