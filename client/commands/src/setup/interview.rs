//! Questions to the person at the terminal, each of which a flag can answer in advance.
//! Does not: judge an answer itself, or ask for a secret.
//! Used by: `setup`.

use std::io::{BufRead, Read};

use clap::ValueEnum;
use rally_cred::output::Output;
use rally_cred_proto::{Fault, FaultKind, plain::plain, shell_word::shell_word};

use super::unanswered;
use crate::terminal::Terminal;

/// The longest answer. A longer one was pasted by mistake.
const LONGEST: u64 = 4096;

fn is_about_the_answer(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::ConfigBroken | FaultKind::Usage)
}

pub(super) enum Verdict {
    /// It is good, in this form.
    Good(String),
    /// It is not; `instead` was probably meant.
    Bad { fault: Fault, instead: Option<String> },
}

impl Verdict {
    /// The verdict of a judge on this answer; a bad one may have been meant as something else.
    pub(super) fn of(judged: Result<(), Fault>, answer: &str, meant_by: fn(&str) -> Option<String>) -> Self {
        match judged {
            Ok(()) => Self::Good(answer.to_owned()),
            Err(fault) => Self::Bad { fault, instead: meant_by(answer) },
        }
    }
}

/// What a flag has answered to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum YesNo {
    Yes,
    No,
}

/// Asks the user. Without one, a missing answer is its proposal, or an error.
pub(super) struct Interview<'a, 'o> {
    lines: Option<Box<dyn BufRead + Send>>,
    output: &'a mut Output<'o>,
}

impl<'a, 'o> Interview<'a, 'o> {
    pub(super) fn new(sys: &dyn Terminal, output: &'a mut Output<'o>) -> Self {
        Self { lines: sys.stdin_is_terminal().then(|| sys.typed_lines()), output }
    }

    pub(super) fn has_person(&self) -> bool {
        self.lines.is_some()
    }

    pub(super) fn tell(&mut self, text: &str) {
        self.output.say(text);
    }

    /// Asks for a text, and checks it at once. An empty line takes the proposal. After a bad answer it asks again, and
    /// proposes what was probably meant.
    pub(super) fn judged(
        &mut self,
        question: &str,
        flag: &str,
        given: Option<String>,
        mut proposal: Option<String>,
        judge: &dyn Fn(&str) -> Verdict,
    ) -> Result<String, Fault> {
        let unasked = if self.has_person() { given } else { given.or_else(|| proposal.clone()) };
        if let Some(answer) = unasked {
            return match judge(&answer) {
                Verdict::Good(answer) => Ok(answer),
                Verdict::Bad { fault, instead } => Err(match instead {
                    Some(instead) => fault.remedy(format!("give {flag} {}", shell_word(&instead))),
                    None => fault,
                }),
            };
        }
        if !self.has_person() {
            return Err(unanswered(question, flag));
        }
        loop {
            let shown = proposal.as_ref().map_or_else(String::new, |text| format!(" [{}]", plain(text)));
            let line = self.ask(&format!("{question}{shown}: "))?;
            let answer = match (line.is_empty(), &proposal) {
                (false, _) => line,
                (true, Some(proposal)) => proposal.clone(),
                (true, None) => continue,
            };
            match judge(&answer) {
                Verdict::Good(answer) => return Ok(answer),
                // Such as a daemon's program that cannot be run.
                Verdict::Bad { fault, .. } if !is_about_the_answer(fault.kind) => return Err(fault),
                Verdict::Bad { fault, instead } => {
                    // The user was asked in words, so the name of the key is left out.
                    let told = fault.why.map_or(fault.what, |why| format!("this cannot be used: {why}"));
                    self.tell(&told);
                    proposal = instead.or(proposal);
                }
            }
        }
    }

    /// Yes or no; yes for an empty line. Without a user, no: nothing is done that was not asked for.
    pub(super) fn yes(&mut self, question: &str, given: Option<YesNo>) -> Result<bool, Fault> {
        match given {
            Some(YesNo::Yes) => return Ok(true),
            Some(YesNo::No) => return Ok(false),
            None if !self.has_person() => return Ok(false),
            None => {}
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
                .run("rally-cred setup")
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
