//! The sign-in as people see it, in headless Chromium with the scripts of pages switched off; pictures are kept.
//! Does not: repeat what `daemon/src/flow` proves about requests that no browser makes.
//! Used by: `main`.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use rally_cred_tests::sandbox::{Endpoint, Fault, Planted, Sandbox};
use rally_cred_tests::webdriver::{REBOUND, Scheme, WebDriver};
use rally_cred_tests::world::{self, Running, World};
use rally_cred_tests::{generated, picture};

use crate::sign_in::{begin, opened, with_browser_at};

/// A person at a browser, and the world in which they sign in.
struct Stage {
    sandbox: Sandbox,
    world: World,
    browser: WebDriver,
    daemon: Running,
}

impl Stage {
    /// Rally speaks https, as it does, so the way back to this machine leads from https to http.
    fn new() -> Self {
        let (sandbox, mut world) = with_browser_at(|options| options.tls = true);
        world.set("PRESS", "nothing").trust(&sandbox);
        let daemon = world.start_daemon();
        Self { sandbox, world, browser: WebDriver::start(), daemon }
    }

    /// Begins a sign-in, and opens in the browser what a browser is started with: an address of the daemon's that leads to
    /// Rally.
    fn begin(&self, arguments: &[&str]) -> Running {
        let before = opened(&self.world).len();
        let mut login =
            self.world.start("rally-cred", &[&["login", "--client-secret-stdin"], arguments].concat());
        login.write(&format!("{}\n", self.sandbox.options().client_secret));
        let start = loop {
            match opened(&self.world).get(before) {
                Some(start) => break start.clone(),
                None => thread::yield_now(),
            }
        };
        assert!(start.contains("/start/"), "{start}");
        self.go_to_rally(&start);
        login
    }

    /// Begins a sign-in; what it showed as its address comes with it.
    fn begin_unseen(&self, arguments: &[&str]) -> (Running, String) {
        begin(&self.world, &self.sandbox.options().client_secret, arguments)
    }

    /// Opens an address that leads to Rally's question.
    fn go_to_rally(&self, address: &str) {
        self.browser.open(address);
        self.browser.wait_for_page("Authorization Request - Rally sandbox");
    }

    /// Waits for the end of a sign-in for which one code was exchanged.
    fn is_signed_in_by_one_code(&self, login: Running) {
        self.browser.wait_for_page("Signed in to Rally – rally-cred");
        login.end().succeeded();
        assert_eq!(self.sandbox.counters().code_exchanges(), 1);
    }

    /// Waits for one of our pages, and holds it to what every page must be.
    fn wait_for(&self, title: &str, picture: &str) -> String {
        let text = self.browser.wait_for_page(&format!("{title} – rally-cred"));
        assert!(text.contains("You can close this tab"), "{text}");
        self.check_page(title, picture);
        text
    }

    /// What can be checked of accessibility by a machine: language, title, landmark and headings as they are announced, nothing
    /// from elsewhere, contrast in light and dark, and no need to scroll sideways on a narrow screen.
    fn check_page(&self, heading: &str, picture: &str) {
        let Self { browser, .. } = self;
        assert_eq!(browser.announced("main").0, "main");
        assert_eq!(browser.announced("h1"), ("heading".to_owned(), heading.to_owned()));
        assert_eq!(browser.run(FACTS).to_string(), r#"["en",1,0,0]"#, "{picture}");
        for (scheme, name) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
            browser.set_scheme(scheme);
            browser.keep_picture(&format!("{picture}-{name}"));
            let faint = browser.run(FAINT);
            assert_eq!(faint["below"].to_string(), "[]", "{picture} in {name}");
            assert!(faint["read"].as_u64() >= Some(4), "{picture} in {name}: {faint}");
            let is_dark = faint["ground"].as_f64().unwrap() < 0.2;
            assert_eq!(is_dark, scheme == Scheme::Dark, "{picture} in {name}: {faint}");
        }
        browser.set_scheme(Scheme::Light);
        browser.set_width(Some(320));
        let width = browser.run("return document.documentElement.scrollWidth");
        assert!(width.as_u64() <= Some(320), "{picture} is {width} wide on a screen of 320");
        browser.keep_picture(&format!("{picture}-narrow"));
        browser.set_width(None);
    }

    /// Holds a picture in the documents to the page that is shown, or makes it anew. Browsers draw one page in different
    /// ways, so its source is compared, which the picture carries.
    fn check_picture(&self, path: &str) {
        let file = generated::root().join(path);
        let source = self.browser.run("return document.documentElement.outerHTML");
        let source = source.as_str().unwrap();
        if generated::is_update() {
            let drawn = self.browser.sharp_picture(640, 440);
            fs::write(&file, picture::with_source(&drawn, source)).unwrap();
        }
        let found = fs::read(&file).unwrap_or_default();
        assert_eq!(picture::source_of(&found).as_deref(), Some(source), "{path}: {}", generated::HOW);
        assert!(found.len() < 60 * 1024, "{path} is too large for a document");
    }
}

/// The value of a parameter of an address.
fn parameter(url: &str, name: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(found, _)| found == name).unwrap().1.into_owned()
}

/// The language; how many landmarks `main`; what came from elsewhere; what runs or is not described.
const FACTS: &str = "return [document.documentElement.lang, document.querySelectorAll('main').length,
    performance.getEntriesByType('resource').filter(entry => !entry.name.endsWith('/favicon.ico')).length,
    document.querySelectorAll('script, img, iframe, [style], [onclick], svg:not([aria-hidden=true])').length]";

/// Texts with less contrast to their ground than 4.5 to 1 (WCAG 2, success criterion 1.4.3), how many were read, and
/// the lightness of the page's ground.
const FAINT: &str = r"
    const channel = value => { const part = value / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; };
    const colour = text => text.match(/[\d.]+/g).map(Number);
    const lightness = ([red, green, blue]) =>
        0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
    const ground = element => {
        for (let at = element; at; at = at.parentElement) {
            const found = colour(getComputedStyle(at).backgroundColor);
            if (found.length === 3 || found[3] === 1) return lightness(found);
            if (found[3] !== 0) throw new Error('a ground that shines through');
        }
        throw new Error('no ground');
    };
    const texts = [...document.body.querySelectorAll('*')].filter(element =>
        [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
    const ratio = element => {
        const pair = [lightness(colour(getComputedStyle(element).color)), ground(element)].sort((a, b) => b - a);
        return (pair[0] + 0.05) / (pair[1] + 0.05);
    };
    const below = texts.filter(element => ratio(element) < 4.5).map(element => element.outerHTML);
    return { below, read: texts.length, ground: ground(document.body) };";

#[test]
fn allow_leads_to_a_page_with_the_users_name() {
    let stage = Stage::new();
    let login = stage.begin(&[]);
    stage.check_page("Authorization Request", "consent");
    for label in ["Allow Access", "Deny"] {
        let selector = format!("button[value={}]", label.split(' ').next().unwrap().to_lowercase());
        assert_eq!(stage.browser.announced(&selector), ("button".to_owned(), label.to_owned()));
    }
    stage.browser.press("Allow Access");
    let text = stage.wait_for("Signed in to Rally", "signed-in");
    assert!(text.contains(&stage.sandbox.options().user.user_name), "{text}");
    stage.check_picture("docs/signed-in.png");
    login.end().succeeded();

    // The port is closed, so a page that is loaded again shows that nobody is there, and changes nothing.
    stage.browser.reload();
    stage.browser.wait_for_nobody("localhost");
    stage.world.client(&["get"], "").succeeded();
}

#[test]
fn deny_leads_to_a_page_that_says_so() {
    let stage = Stage::new();
    let login = stage.begin(&[]);
    stage.browser.press("Deny");
    let text = stage.wait_for("Access denied", "denied");
    assert!(text.contains("rally-cred login"), "{text}");
    assert_eq!(login.end().code, Some(4));
}

#[test]
fn a_failed_sign_in_says_what_failed_why_and_what_helps() {
    let stage = Stage::new();
    stage.sandbox.change(|options| options.client_secret = "another".to_owned());
    let (login, url) = begin(&stage.world, "mistyped", &[]);
    stage.go_to_rally(&url);
    stage.browser.press("Allow Access");
    let text = stage.wait_for("Sign-in failed", "failed");
    let ended = login.end().ended_with(4);
    // The page and the terminal say the same.
    let what = ended.stderr.lines().last().unwrap().trim_start().trim_start_matches("try: ");
    assert!(text.contains(what) && text.contains("Try"), "{what} is not in {text}");
}

#[test]
fn while_rally_hangs_the_page_says_so_and_then_how_it_ended() {
    for is_refused in [true, false] {
        let stage = Stage::new();
        let login = stage.begin(&[]);
        // Nothing but this test lets Rally answer, so what the page shows before, it shows while Rally hangs.
        stage.sandbox.fault(Endpoint::Token, Fault::Hang, None);
        stage.browser.press("Allow Access");
        stage.browser.wait_for_text("Rally has not answered yet");
        stage.browser.keep_picture("waiting");
        assert_eq!(stage.browser.announced(".waiting").0, "main");
        assert_eq!(stage.browser.run(FAINT)["below"].to_string(), "[]");
        if is_refused {
            stage.sandbox.change(|options| options.client_secret = "another".to_owned());
        }
        stage.sandbox.clear_faults();
        let (title, code) = if is_refused { ("Sign-in failed", 4) } else { ("Signed in to Rally", 0) };
        let text = stage.wait_for(title, "after-waiting");
        assert!(!text.contains("not answered yet"), "{text}");
        assert_eq!(login.end().code, Some(code));
    }
}

#[test]
fn a_daemon_that_ends_while_rally_hangs_leaves_no_page_that_promises_more() {
    let stage = Stage::new();
    let login = stage.begin(&[]);
    stage.sandbox.fault(Endpoint::Token, Fault::Hang, None);
    stage.browser.press("Allow Access");
    stage.browser.wait_for_text("Rally has not answered yet");
    stage.daemon.signal("TERM");
    stage.wait_for("Sign-in failed", "stopped");
    assert_ne!(login.end().code, Some(0));
}

#[test]
fn an_address_that_is_opened_again_while_the_sign_in_is_completed_is_refused_once_more() {
    let stage = Stage::new();
    stage.sandbox.plant(Planted { code: Some("planted".to_owned()), ..Planted::default() });
    stage.sandbox.fault(Endpoint::Token, Fault::Hang, None);
    let (login, url) = stage.begin_unseen(&[]);
    stage.go_to_rally(&url);
    stage.browser.press("Allow Access");
    stage.sandbox.until(|counters| counters.code_exchanges() == 1).unwrap();

    let state = parameter(&url, "state");
    let first = stage.browser.open_tab();
    stage.browser.open(&format!("{}?code=planted&state={state}", stage.sandbox.options().redirect_uri));
    stage.wait_for("This address was already used", "replayed");

    stage.sandbox.clear_faults();
    stage.browser.show_tab(&first);
    stage.is_signed_in_by_one_code(login);
}

#[test]
fn a_page_cannot_end_or_forge_a_sign_in_and_two_profiles_are_not_mixed() {
    let stage = Stage::new();
    let config = stage.world.config();
    let port = stage.sandbox.options().redirect_uri.split(['/', ':']).nth(4).unwrap().to_owned();
    let other = config
        .replace("[profile.default]", "[profile.other]")
        .replace(&format!(":{port}/"), &format!(":{}/", world::free_port()));
    stage.world.reconfigure(&(config + &other));
    let (login, url) = stage.begin_unseen(&["default"]);
    let (mut other, other_url) = stage.begin_unseen(&["other"]);
    let (state, other_state) = (parameter(&url, "state"), parameter(&other_url, "state"));
    let redirect = parameter(&url, "redirect_uri");
    let long = "x".repeat(20_000);
    let script = "%3Cscript%3Edocument.title%3D1%3C%2Fscript%3E%3Cimg%20src%3Dx%3E";
    for query in [
        "?code=c".to_owned(),
        "?code=c&state=00000000-0000-4000-8000-000000000000".to_owned(),
        format!("?code=c&state={other_state}"),
        format!("?code=c&error=access_denied&state={state}"),
        format!("?code=c&code=d&state={state}"),
        format!("?code=c&state={state}&state={state}"),
        format!("?code=c&state={other_state}&state={state}"),
        format!("?code=c#state={state}"),
        format!("?code={long}&state={other_state}"),
        format!("?error={script}&error_description={script}&error_uri={script}&state={script}"),
        format!("?code={script}&state={script}"),
    ] {
        stage.browser.open(&format!("{redirect}{query}"));
        let title = stage.browser.run("return document.title").to_string();
        let shown = query.get(..100).unwrap_or(&query);
        assert!(!title.contains("Signed in") && title.contains("rally-cred"), "{shown}: {title}");
        let foreign = stage.browser.run("return document.querySelectorAll('script, img').length");
        assert_eq!(foreign.as_u64(), Some(0), "{shown}");
    }
    stage.browser.open(&format!("{}?code=c&state={state}", parameter(&other_url, "redirect_uri")));
    other.kill();

    stage.go_to_rally(&url);
    stage.browser.press("Allow Access");
    stage.wait_for("Signed in to Rally", "after-forgeries");
    login.end().succeeded();
    assert_eq!(stage.sandbox.counters().code_exchanges(), 1);
}

/// A web server that shows the same page at every address, until the test ends. Returns its address.
fn serve_page(page: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
            // A browser may connect and ask for nothing; what it asks does not matter.
            if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len()).ok();
            }
        }
    });
    address
}

#[test]
fn a_page_that_knows_the_state_can_neither_use_it_up_across_sites_nor_by_a_name_of_its_own() {
    let stage = Stage::new();
    let (login, url) = stage.begin_unseen(&[]);
    let mut theirs = url::Url::parse(&parameter(&url, "redirect_uri")).unwrap();
    let state = parameter(&url, "state");
    theirs.query_pairs_mut().append_pair("code", "theirs").append_pair("state", &state);
    let elsewhere = serve_page("<title>Elsewhere</title><body></body>");

    // What a page can load or send without leaving. Each address differs, so that each is seen to have been asked for.
    stage.browser.open(&elsewhere);
    stage.browser.wait_for_page("Elsewhere");
    stage.browser.run(&format!(
        "const address = way => '{theirs}&way=' + way;
        const load = (tag, more) => document.body.append(Object.assign(document.createElement(tag), more));
        load('img', {{ src: address('img') }});
        load('iframe', {{ src: address('iframe') }});
        load('link', {{ rel: 'stylesheet', href: address('link') }});
        for (const method of ['GET', 'POST'])
            fetch(address(method), {{ method, mode: 'no-cors', credentials: 'include' }}).catch(() => {{}});
        navigator.sendBeacon(address('beacon'), 'x');"
    ));
    for way in ["img", "iframe", "link", "GET", "POST", "beacon"] {
        stage.browser.wait_until(&format!(
            "return performance.getEntriesByType('resource').some(entry => entry.name.endsWith('&way={way}'))"
        ));
    }
    // A form, for which the page is left.
    stage.browser.run(&format!(
        "const form = Object.assign(document.createElement('form'), {{ method: 'POST', action: '{theirs}' }});
        document.body.append(form);
        form.submit();"
    ));
    stage.browser.wait_for_text("only a browser's GET is answered here");

    // Their own name leads to this machine, so that our port is a part of their site.
    let mut rebound = theirs.clone();
    rebound.set_host(Some(REBOUND)).unwrap();
    stage.browser.open(rebound.as_str());
    stage.browser.wait_for_text("this address belongs to another server");

    stage.go_to_rally(&url);
    stage.browser.press("Allow Access");
    stage.is_signed_in_by_one_code(login);
}

#[test]
fn a_tab_that_was_left_until_its_sign_in_expired_does_no_harm_to_the_next_one() {
    let stage = Stage::new();
    let (late, url) = stage.begin_unseen(&["--timeout", "1s"]);
    late.end().ended_with(5);
    // Nobody listens any more: the browser's own page says so.
    stage.go_to_rally(&url);
    stage.browser.press("Allow Access");
    stage.browser.wait_for_nobody("localhost");

    let (login, url) = stage.begin_unseen(&[]);
    stage.browser.reload();
    let text = stage.wait_for("This sign-in is over", "expired");
    assert!(text.contains("opened last"), "{text}");
    stage.go_to_rally(&url);
    stage.browser.press("Allow Access");
    stage.browser.wait_for_page("Signed in to Rally – rally-cred");
    login.end().succeeded();
}
