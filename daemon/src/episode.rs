//! A repeated failure as two lines in the log: one when it begins, one with a count when it is over.
//! Does not: write them, or know what fails.
//! Used by: whatever accepts connections.

/// The failure that goes on, if any.
#[derive(Debug, Default)]
pub struct Episode {
    why: String,
    times: u64,
}

impl Episode {
    /// Counts a failure. Whether it is the first of its kind.
    pub fn happened(&mut self, why: &str) -> bool {
        self.times += 1;
        let is_news = self.times == 1 || self.why != why;
        if is_news {
            self.why = why.to_owned();
        }
        is_news
    }

    /// The failure is over. How often it happened, if more than once.
    pub fn over(&mut self) -> Option<u64> {
        let times = std::mem::take(&mut self.times);
        (times > 1).then_some(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_that_comes_again_is_told_once_and_counted_at_its_end() {
        let mut episode = Episode::default();
        assert_eq!(episode.over(), None);
        assert!(episode.happened("too many open files"));
        assert_eq!((1..137).filter(|_| episode.happened("too many open files")).count(), 0);
        assert!(episode.happened("out of memory"));
        assert_eq!(episode.over(), Some(138));
        assert!(episode.happened("out of memory"));
        assert_eq!(episode.over(), None, "one that came once is told already");
    }
}
