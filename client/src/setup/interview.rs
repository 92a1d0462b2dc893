//! Questions to the person at the terminal, each of which a flag can answer in advance.
//! Does not: judge an answer but by its shape, or ask for a secret.
//! Met by: `setup`.

use std::io::{BufRead, Read};

use rally_cred_proto::{Fault, FaultKind, Origin, plain::plain};

use super::unanswered;
use crate::{output::Output, surroundings::Surroundings};

/// The longest answer. A longer one is a slip of the clipboard.
const LONGEST: u64 = 4096;

/// Asks whoever is there. Where nobody is, what is not given takes its proposal, or is an error.
pub(super) struct Interview<'a, 'o> {
    lines: Option<Box<dyn BufRead + Send>>,
    output: &'a mut Output<'o>,
}

impl<'a, 'o> Interview<'a, 'o> {
    pub(super) fn new(around: &dyn Surroundings, output: &'a mut Output<'o>) -> Self {
        Self { lines: around.stdin_is_terminal().then(|| around.typed_lines()), output }
    }

    /// Whether somebody can answer.
    pub(super) fn has_person(&self) -> bool {
        self.lines.is_some()
    }

    pub(super) fn tell(&mut self, text: &str) {
        self.output.say(text);
    }

    /// A text. An empty line takes the proposal, and is asked again without one.
    pub(super) fn text(
        &mut self,
        question: &str,
        flag: &str,
        given: Option<String>,
        proposal: Option<String>,
    ) -> Result<String, Fault> {
        if let Some(given) = given {
            return Ok(given);
        }
        if !self.has_person() {
            return proposal.ok_or_else(|| unanswered(question, flag));
        }
        let shown = proposal.as_ref().map_or_else(String::new, |text| format!(" [{}]", plain(text)));
        loop {
            let line = self.ask(&format!("{question}{shown}: "))?;
            match (line.is_empty(), &proposal) {
                (false, _) => return Ok(line),
                (true, Some(proposal)) => return Ok(proposal.clone()),
                (true, None) => {}
            }
        }
    }

    /// A text that has to be a web address; a slip costs the person nothing but another try.
    pub(super) fn address(
        &mut self,
        question: &str,
        flag: &str,
        given: Option<&String>,
        proposal: &str,
    ) -> Result<String, Fault> {
        loop {
            let address = self.text(question, flag, given.cloned(), Some(proposal.to_owned()))?;
            if given.is_some() || !self.has_person() || Origin::from_uri(&address).is_some() {
                return Ok(address);
            }
            self.tell("this is no address; it begins with https://, or with http:// on this machine");
        }
    }

    /// Yes or no; yes for an empty line. Where nobody is, no: nothing is done that was not said.
    pub(super) fn yes(&mut self, question: &str, given: Option<bool>) -> Result<bool, Fault> {
        if let Some(given) = given {
            return Ok(given);
        }
        if !self.has_person() {
            return Ok(false);
        }
        loop {
            match self.ask(&format!("{question} [Y/n]: "))?.to_ascii_lowercase().as_str() {
                "" | "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => {}
            }
        }
    }

    fn ask(&mut self, prompt: &str) -> Result<String, Fault> {
        let interrupted = || {
            Fault::new(FaultKind::Denied, "the set-up was interrupted")
                .why("no more answers came; nothing was changed")
        };
        let lines = self.lines.as_mut().ok_or_else(interrupted)?;
        self.output.show(prompt);
        let mut line = String::new();
        match lines.take(LONGEST).read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            Ok(0) | Err(_) => Err(interrupted()),
        }
    }
}
