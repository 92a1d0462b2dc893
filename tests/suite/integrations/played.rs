//! A transcript of INTEGRATIONS.md, played: a program that is started once, what a person types at it, what happens
//! meanwhile, and what it prints.
//! Does not: know the page's sections.
//! Used by: `integrations`.

use rally_cred_tests::world::Running;

use super::Reader;

/// What stands before a command that is run to its end meanwhile.
const ELSEWHERE: &str = "# in another terminal: ";

/// Seconds for which a token is good while ten of them come and go.
const SHORT_LIFE: u64 = 2;

/// A program that answers each line that is typed at it.
struct Player<'a> {
    reader: &'a Reader,
    program: Option<Running>,
    /// What was typed last, and the answer on the page.
    last: (String, Vec<String>),
}

/// Plays a transcript: `$ ` starts the program, `> ` types at it, `# ` says what happens meanwhile, and any other line is
/// what it prints then.
pub(super) fn play(reader: &Reader, text: &str) {
    let mut player = Player { reader, program: None, last: Default::default() };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(command) = line.strip_prefix("$ ") {
            player.end();
            let command = format!("exec {}", reader.here(command));
            player.program = Some(reader.stage.world.start("bash", &["-c", &command]));
        } else if let Some(typed) = line.strip_prefix("> ") {
            let mut expected = Vec::new();
            while let Some(printed) = lines.next_if(|line| !line.starts_with(['$', '>', '#'])) {
                expected.push(reader.here(printed));
            }
            player.last = (reader.here(typed), expected);
            player.ask();
        } else {
            player.meanwhile(line);
        }
    }
    player.end();
}

impl Player<'_> {
    fn ask(&mut self) {
        let (typed, expected) = &self.last;
        let program = self.program.as_mut().unwrap();
        program.write(&format!("{typed}\n"));
        for line in expected {
            assert_eq!(program.next_line_of_stdout().as_ref(), Some(line), "after {typed:?}");
        }
    }

    fn meanwhile(&mut self, line: &str) {
        let stage = &self.reader.stage;
        match line {
            "# the token expires" => stage.sandbox.expire_tokens(),
            "# ten tokens come and go, and it is asked all the time" => {
                let life = stage.sandbox.options().token_life;
                stage.sandbox.change(|options| options.token_life = SHORT_LIFE);
                stage.sandbox.expire_tokens();
                let before = stage.sandbox.counters().refreshes();
                while stage.sandbox.counters().refreshes() < before + 10 {
                    self.ask();
                }
                self.reader.stage.sandbox.change(|options| options.token_life = life);
            }
            _ => {
                assert!(line.starts_with(ELSEWHERE), "{line:?} is nothing that this test can do");
                let command = &line[ELSEWHERE.len()..];
                let ended = self.reader.shell(command);
                assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
                crate::tools::wait_for_gateway(&stage.world);
            }
        }
    }

    fn end(&mut self) {
        if let Some(program) = self.program.take() {
            program.end().succeeded();
        }
    }
}
