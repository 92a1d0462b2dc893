//! INTEGRATIONS.md, run block by block as a reader would, with nothing changed but the servers' addresses.
//! Does not: try what the tools do when something fails (`tools` does).
//! Used by: `main`.

mod played;

use std::{collections::BTreeMap, fs};

use rally_cred_tests::toolkits::{file, installed, python};
use rally_cred_tests::{git_server::GitServer, keyring::KeyringSession, man, world::Ended};

use crate::gateway::check_that_rally_saw_tokens_only;
use crate::tidy::document;
use crate::tools::Stage;

const PAGE: &str = include_str!("../../INTEGRATIONS.md");

/// Every section, and what its last block prints. A new section fails here until it says. Those with nothing have
/// transcripts.
const PRINTED: [(&str, &str); 11] = [
    ("curl", "UserName"),
    ("Python with requests", "@"),
    ("pyral", "Example Project"),
    ("rally for Node", "DE1"),
    ("MCP servers", ""),
    ("A headers command", "{\"Authorization\":\"Bearer "),
    ("Programs that run for days", ""),
    ("cron", "Example Project"),
    ("git", ""),
    ("Bazel", "ZSESSIONID"),
    ("A shell", "UserName"),
];

/// A fenced block: its language, the file that it is, and its text.
struct Block<'a> {
    language: &'a str,
    file: Option<&'a str>,
    text: &'a str,
}

/// The sections, by their names.
fn sections() -> Vec<(&'static str, Vec<Block<'static>>)> {
    let (preface, sections) = PAGE.split_once("\n## ").unwrap();
    assert!(blocks(preface).is_empty());
    let sections = sections.split("\n## ").map(|text| text.split_once('\n').unwrap());
    sections.map(|(name, text)| (name, blocks(text))).collect()
}

fn blocks(section: &str) -> Vec<Block<'_>> {
    section
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| {
            let (fence, text) = block.split_once('\n').unwrap();
            let (language, file) =
                fence.split_once(' ').map_or((fence, None), |(language, file)| (language, Some(file)));
            Block { language, file, text }
        })
        .collect()
}

/// The reader: a signed-in world with the toolkits, a git server, and the addresses on the page replaced.
struct Reader {
    stage: Stage,
    server: GitServer,
}

impl Reader {
    fn new(keyring: Option<KeyringSession>) -> Self {
        // pyral keeps cookies, and works with Rally all the same.
        let mut stage = Stage::with_keyring(|options| options.session_cookies = false, keyring);
        let path = stage.world.variable("PATH").to_owned();
        stage.world.set("PATH", format!("{}:{path}", installed("venv/bin").display()));
        stage.world.set("GIT_TERMINAL_PROMPT", "0");
        // What the page leaves to the reader: an MCP server, and its host.
        let python = python();
        for (name, script) in [("rally-mcp-server", "mcp_server.py"), ("mcp-host", "with_mcp.py")] {
            let script = file(&format!("tests/tools/{script}"));
            stage.world.stand_in(name, &format!("exec '{python}' '{script}' \"$@\"\n"));
        }
        // `me` with `the-password`.
        Self { stage, server: GitServer::start("Basic bWU6dGhlLXBhc3N3b3Jk") }
    }

    fn here(&self, text: &str) -> String {
        let rally = self.stage.sandbox.base_url();
        let host = rally.split_once("://").unwrap().1;
        text.replace("https://rally1.rallydev.com", rally)
            .replace("rally1.rallydev.com", host)
            .replace("https://git.example.com", self.server.origin())
            .replace("/run/user/$(id -u)", &self.stage.world.path("run").display().to_string())
    }

    fn shell(&self, line: &str) -> Ended {
        self.stage.world.run("bash", &["-c", &format!("set -euo pipefail\n{line}")], "")
    }

    /// As Claude Code takes headers from a command: of a shell, within ten seconds, by exit code 0 and an object of texts.
    fn headers(&self, helper: &str, url: &str) -> Ended {
        let command = format!("export CLAUDE_CODE_MCP_SERVER_URL='{url}'\n{helper}");
        let ended = self.stage.world.run("timeout", &["10", "sh", "-c", &command], "");
        let headers: BTreeMap<String, String> = serde_json::from_str(&ended.stdout).unwrap();
        let expected = ("Authorization".to_owned(), format!("Bearer {}", self.stage.world.token()));
        assert_eq!(headers.into_iter().collect::<Vec<_>>(), [expected]);
        ended
    }

    /// Does what a block says; what it printed, if it is one to run.
    fn follow(&self, block: &Block<'_>) -> Option<Ended> {
        let world = &self.stage.world;
        let text = self.here(block.text);
        if let Some(file) = block.file {
            fs::write(world.path(file), &text).unwrap();
        }
        match block.language {
            "sh" => Some(self.shell(&text)),
            "toml" => {
                let config = world.path("config/rally-cred/config.toml");
                fs::write(&config, format!("{}\n{text}", fs::read_to_string(&config).unwrap())).unwrap();
                Some(self.shell("rally-cred daemon reload"))
            }
            "json" => {
                let hosts: serde_json::Value = serde_json::from_str(&text).unwrap();
                let server = &hosts["mcpServers"]["rally"];
                let helper = server["headersHelper"].as_str()?;
                Some(self.headers(helper, server["url"].as_str().unwrap()))
            }
            // As cron starts a line: by sh, with hardly a variable. Trust in the authority is the machine's, not its.
            "crontab" => {
                let command = text.trim().splitn(6, ' ').nth(5).unwrap().to_owned();
                let kept = ["HOME", "PATH", "REQUESTS_CA_BUNDLE"]
                    .map(|name| format!("{name}={}", world.variable(name)));
                let arguments = ["-i", &kept[0], &kept[1], &kept[2], "/bin/sh", "-c", &command];
                Some(world.run("env", &arguments, ""))
            }
            _ => None,
        }
    }
}

#[test]
fn every_block_does_what_the_page_says() {
    let names: Vec<_> = sections().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, PRINTED.map(|(name, _)| name));

    let reader = Reader::new(None);
    for ((name, blocks), (_, expected)) in sections().iter().zip(PRINTED) {
        let mut last = None;
        for block in blocks {
            let is_known =
                ["python", "js", "sh", "toml", "json", "crontab", "console"].contains(&block.language);
            assert!(is_known, "{name}: a block in {}, which nobody runs", block.language);
            if let Some(ended) = reader.follow(block) {
                assert_eq!(ended.code, Some(0), "{name}: {}\n{ended:?}", block.text);
                last = Some(ended);
            }
        }
        let has_transcript = blocks.iter().any(|block| block.language == "console");
        assert!(last.is_some() || has_transcript, "{name} has nothing to run");
        let printed = last.map(|last| last.stdout).unwrap_or_default();
        assert!(printed.contains(expected), "{name}: {printed}");
    }
    let cloned = reader.stage.world.path("tools/README");
    assert_eq!(fs::read_to_string(cloned).unwrap(), "served\n");
    reader.stage.check_requests(&reader.stage.world.token(), 6);
}

#[test]
fn every_transcript_shows_what_a_person_sees_and_each_program_outlives_its_token() {
    let reader = Reader::new(Some(KeyringSession::start()));
    let mut played = 0;
    for block in sections().iter().flat_map(|(_, blocks)| blocks) {
        if block.language == "console" {
            played::play(&reader, block.text);
            played += 1;
        } else if block.file.is_some() {
            fs::write(reader.stage.world.path(block.file.unwrap()), reader.here(block.text)).unwrap();
        }
    }
    assert!(played >= 5, "{played}");
    check_that_rally_saw_tokens_only(&reader.stage.sandbox);
}

#[test]
fn the_readme_names_every_preset_of_exec() {
    let readme = document("README.md");
    for preset in man::choices("exec", "for") {
        let ways = [format!("--for {preset}"), format!("\"--tool\", \"{preset}\"")];
        assert!(ways.iter().any(|way| readme.contains(way)), "{preset}");
    }
}
