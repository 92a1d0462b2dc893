//! Headless Chromium, driven through its driver by the WebDriver protocol (W3C), with scripts of pages switched off.
//! Does not: know a page; a test says what is to be pressed and what must be seen.
//! Used by: the tests of what people see in their browser.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a browser that does not do as it is told is the end of its test, with this message"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{browser, world};

/// How long a page may take to show what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host of which the browser takes 127.0.0.1 for the address.
pub const REBOUND: &str = "rebound.test";

/// How an element is named in the protocol's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser in a temporary profile. Dropping it ends it and its driver.
#[derive(Debug)]
pub struct WebDriver {
    runtime: Runtime,
    http: Client,
    driver: Child,
    session: String,
    _home: TempDir,
}

/// What a person has set for the looks of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark text on light ground.
    Light,
    /// Light text on dark ground.
    Dark,
}

impl WebDriver {
    /// Starts a browser with an empty profile. It takes any certificate, since the sandbox makes its own.
    pub fn start() -> Self {
        let home = tempfile::Builder::new().prefix("rally-cred-chromium-").tempdir().expect("a folder");
        // The port that it finds free for one kind of address may be taken for the other; then it ends.
        let (driver, port) =
            (0..5).find_map(|_| start_driver(home.path())).expect("a driver that says where it listens");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut this = Self {
            http: browser::client(None).expect("a client"),
            session: format!("http://127.0.0.1:{port}/session"),
            runtime,
            driver,
            _home: home,
        };
        let profile = format!("--user-data-dir={}", this._home.path().join("profile").display());
        // Without a sandbox, since a test machine may run all as root, in containers that cannot make namespaces.
        let flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run \
                     --disable-background-networking --disable-component-update --disable-sync --window-size=900,700";
        // A name of somebody else's domain, which they let lead to this machine.
        let rebound = format!("--host-resolver-rules=MAP {REBOUND} 127.0.0.1");
        let flags: Vec<_> = flags.split(' ').chain([profile.as_str(), &rebound]).collect();
        // A page that waits for Rally must not hold up what else the test does.
        let wanted = json!({"acceptInsecureCerts": true, "pageLoadStrategy": "none", "goog:chromeOptions": {"args": flags}});
        let started = this.ask(Method::POST, "", Some(json!({"capabilities": {"alwaysMatch": wanted}})));
        let id = started["sessionId"].as_str().expect("a session").to_owned();
        this.session = format!("{}/{id}", this.session);
        this.develop("Emulation.setScriptExecutionDisabled", json!({"value": true}));
        this
    }

    /// Goes to an address.
    pub fn open(&self, url: &str) {
        self.ask(Method::POST, "/url", Some(json!({"url": url})));
    }

    /// Loads the page anew.
    pub fn reload(&self) {
        self.ask(Method::POST, "/refresh", Some(json!({})));
    }

    /// Waits until a page with this title has been loaded, and returns what a person can read on it.
    pub fn wait_for_page(&self, title: &str) -> String {
        let began = Instant::now();
        loop {
            let page = self.run(
                "return [document.readyState, document.title, document.body ? document.body.innerText : '']",
            );
            let [state, found, body] = [0, 1, 2].map(|at| page[at].as_str().unwrap_or_default());
            if state == "complete" && found == title {
                return body.to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "{title:?} does not come, but {found:?}: {body}");
        }
    }

    /// Waits until a page shows this text to a person, whether or not it has been loaded to its end.
    pub fn wait_for_text(&self, text: &str) {
        let began = Instant::now();
        loop {
            let shown = self.run("return document.body ? document.body.innerText : ''");
            let shown = shown.as_str().unwrap_or_default();
            if shown.contains(text) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{text:?} does not come, but {shown}");
        }
    }

    /// Waits until a script of the test's own returns `true`.
    #[track_caller]
    pub fn wait_until(&self, script: &str) {
        let began = Instant::now();
        while self.run(script) != true {
            assert!(began.elapsed() < PATIENCE, "this does not come true: {script}");
        }
    }

    /// Waits until the browser itself says that nobody answers at this host.
    pub fn wait_for_nobody(&self, host: &str) {
        self.wait_for_page(host);
        assert_eq!(self.run("return location.protocol"), "chrome-error:");
    }

    /// Presses the button of this label.
    pub fn press(&self, label: &str) {
        let button = self.find("xpath", &format!("//button[normalize-space()='{label}']"));
        self.ask(Method::POST, &format!("/element/{button}/click"), Some(json!({})));
    }

    /// Opens another tab and goes on there; gives back the one that was shown.
    pub fn open_tab(&self) -> String {
        let before = text(self.ask(Method::GET, "/window", None));
        let tab = self.ask(Method::POST, "/window/new", Some(json!({"type": "tab"})));
        self.show_tab(tab["handle"].as_str().expect("a handle"));
        before
    }

    /// Goes on in a tab.
    pub fn show_tab(&self, handle: &str) {
        self.ask(Method::POST, "/window", Some(json!({"handle": handle})));
    }

    /// Role and name of the first element that a CSS selector finds, as a screen reader is told them.
    pub fn announced(&self, selector: &str) -> (String, String) {
        let element = self.find("css selector", selector);
        let read = |what: &str| text(self.ask(Method::GET, &format!("/element/{element}/{what}"), None));
        (read("computedrole"), read("computedlabel"))
    }

    /// Sets light or dark.
    pub fn set_scheme(&self, scheme: Scheme) {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.develop("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Makes the page this many pixels wide, or as wide as the window again.
    pub fn set_width(&self, width: Option<u32>) {
        match width {
            Some(width) => self.set_screen(width, 640, 1.0),
            None => self.develop("Emulation.clearDeviceMetricsOverride", json!({})),
        }
    }

    fn set_screen(&self, width: u32, height: u32, scale: f64) {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": false});
        self.develop("Emulation.setDeviceMetricsOverride", screen);
    }

    /// Runs a script of the test's own, beside those of the page, and returns its result.
    pub fn run(&self, script: &str) -> Value {
        self.ask(Method::POST, "/execute/sync", Some(json!({"script": script, "args": []})))
    }

    /// Keeps a picture of the page below `target/chromium`.
    pub fn keep_picture(&self, name: &str) {
        let folder: PathBuf = world::programs().join("../chromium");
        fs::create_dir_all(&folder).expect("a folder for pictures");
        fs::write(folder.join(format!("{name}.png")), self.picture()).expect("a picture that can be kept");
    }

    /// The page in a window of this size, as a PNG that is half as large again, for sharp screens.
    pub fn sharp_picture(&self, width: u32, height: u32) -> Vec<u8> {
        self.set_screen(width, height, 1.5);
        let picture = self.picture();
        self.set_width(None);
        picture
    }

    fn picture(&self) -> Vec<u8> {
        let picture = self.ask(Method::GET, "/screenshot", None);
        BASE64_STANDARD.decode(picture.as_str().expect("a picture")).expect("base64")
    }

    /// A command of Chromium's own protocol.
    fn develop(&self, command: &str, parameters: Value) {
        self.ask(Method::POST, "/goog/cdp/execute", Some(json!({"cmd": command, "params": parameters})));
    }

    fn find(&self, using: &str, value: &str) -> String {
        let found = self.ask(Method::POST, "/element", Some(json!({"using": using, "value": value})));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.try_to_ask(method, path, body).unwrap_or_else(|err| panic!("{path}: {err}"))
    }

    fn try_to_ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = self.runtime.block_on(async { request.send().await?.bytes().await });
        let answer = answer.map_err(|err| err.to_string())?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|err| err.to_string())?;
        match answer["value"].take() {
            Value::Object(fault) if fault.contains_key("error") => Err(Value::Object(fault).to_string()),
            value => Ok(value),
        }
    }
}

/// Starts the driver; `None` if it ended before it said on which port it listens.
fn start_driver(home: &Path) -> Option<(Child, String)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver, which tests/run installs");
    let output = BufReader::new(driver.stdout.take().expect("its output"));
    let port = output.lines().map_while(Result::ok).find_map(|line| {
        let port = line.split_once("started successfully on port ")?.1;
        Some(port.trim_end_matches('.').to_owned())
    });
    if port.is_none() {
        driver.wait().ok();
    }
    Some((driver, port?))
}

impl Drop for WebDriver {
    fn drop(&mut self) {
        // The driver ends the browser, and then it is ended itself.
        self.try_to_ask(Method::DELETE, "", None).ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

fn text(value: Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
