//! One time limit for everything that a command waits for: its input, the connection, the answer.
//! Does not: wait. It tells whoever does how long that may take.
//! Used by: the client, and other programs that ask with a limit of their own.

use std::time::{Duration, Instant};

/// A wait this short counts as none, and so do a few of them. The first reading of a clock costs a program more than a
/// daemon's answer, so none is read before something has taken longer.
const BRIEF: Duration = Duration::from_millis(10);

/// How many such waits there are before the clock is read all the same.
const BRIEF_WAITS: u8 = 8;

/// A time limit for several waits together, which begins when it is made, or a few hundredths of a second later.
#[derive(Clone, Debug)]
pub struct Deadline {
    patience: Option<Duration>,
    end: Option<Instant>,
    brief_waits: u8,
}

impl Deadline {
    /// So long from now.
    pub fn after(patience: Duration) -> Self {
        Self { patience: Some(patience), end: None, brief_waits: BRIEF_WAITS }
    }

    /// No limit.
    pub fn never() -> Self {
        Self { patience: None, end: None, brief_waits: 0 }
    }

    /// The time that is left; `None` without a limit.
    pub fn left(&self) -> Option<Duration> {
        match self.end {
            Some(end) => Some(end.saturating_duration_since(Instant::now())),
            None => self.patience,
        }
    }

    /// Has `wait` wait for something, for as long as it is told at most, and say whether that came. `Ok(false)` is the
    /// end of the time.
    pub fn wait<E>(&mut self, mut wait: impl FnMut(Option<Duration>) -> Result<bool, E>) -> Result<bool, E> {
        let Some(patience) = self.patience else { return wait(None) };
        if self.end.is_none() {
            if let Some(fewer) = self.brief_waits.checked_sub(1)
                && patience > BRIEF
            {
                self.brief_waits = fewer;
                if wait(Some(BRIEF))? {
                    return Ok(true);
                }
                self.start_with(patience - BRIEF);
            } else {
                self.start_with(patience);
            }
        }
        wait(self.left())
    }

    /// Reads the clock from now on, before something that is sure to take its time.
    pub fn start(&mut self) {
        if let (Some(patience), None) = (self.patience, self.end) {
            self.start_with(patience);
        }
    }

    fn start_with(&mut self, patience: Duration) {
        // What the calendar does not reach is no limit.
        self.end = Instant::now().checked_add(patience);
        if self.end.is_none() {
            self.patience = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a wait is told, while nothing comes.
    fn told(deadline: &mut Deadline) -> Vec<Option<Duration>> {
        let mut told = Vec::new();
        let came = deadline.wait(|most| {
            told.push(most);
            Ok::<_, ()>(false)
        });
        assert_eq!(came, Ok(false));
        told
    }

    #[test]
    fn what_comes_at_once_leaves_all_the_time() {
        let mut deadline = Deadline::after(Duration::from_secs(60));
        for _ in 0..BRIEF_WAITS {
            assert_eq!(deadline.wait(|most| Ok::<_, ()>(most == Some(BRIEF))), Ok(true));
            assert_eq!(deadline.left(), Some(Duration::from_secs(60)));
        }
        // But not for ever: each may have taken some of it.
        let mut most_told = None;
        assert_eq!(deadline.wait(|most| Ok::<_, ()>(most_told.replace(most).is_none())), Ok(true));
        assert!(most_told.flatten().is_some_and(|most| most > BRIEF));
    }

    #[test]
    fn all_waits_together_have_the_time_of_one() {
        let mut deadline = Deadline::after(Duration::from_secs(60));
        let first = told(&mut deadline);
        assert_eq!((first.len(), first[0]), (2, Some(BRIEF)));
        assert!(first[1].is_some_and(|left| left <= Duration::from_secs(60) - BRIEF));
        let second = told(&mut deadline);
        assert!(second.len() == 1 && second[0] <= first[1], "{second:?}");
    }

    #[test]
    fn without_a_limit_or_beyond_the_calendar_nothing_ends_a_wait() {
        assert_eq!(told(&mut Deadline::never()), [None]);
        assert_eq!(told(&mut Deadline::after(Duration::MAX)), [Some(BRIEF), None]);
        assert_eq!(told(&mut Deadline::after(Duration::ZERO)).len(), 1);
    }
}
