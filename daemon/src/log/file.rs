//! The log file: of bounded size, with one older file beside it.
//! Does not: make lines, or fail; a daemon serves without a log too.
//! Used by: `log`.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rally_cred_proto::own_file;

/// A longer file is set aside for a new one. Two of them hold at least thirty thousand lines: some days of a machine
/// that builds all day, some years of a person.
pub const LONGEST: u64 = 4 * 1024 * 1024;

/// The log file of this daemon.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// As far as this daemon knows; others may write there too.
    length: u64,
    longest: u64,
}

impl LogFile {
    /// Opens the file for appending, with its folder; a long one is set aside first.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(path, LONGEST)
    }

    fn open_with(path: &Path, longest: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            own_file::make_folder(folder)?;
        }
        let mut log = Self { path: path.to_owned(), file: None, length: 0, longest };
        log.take_up()?;
        log.keep_bounds();
        Ok(log)
    }

    /// Writes lines, all into one file.
    pub fn write(&mut self, lines: &[u8]) {
        if let Some(file) = &mut self.file {
            // A full disk must not stop the daemon.
            if file.write_all(lines).is_ok() {
                self.length += lines.len() as u64;
            }
            self.keep_bounds();
        }
    }

    /// Continues in the file that is now at the path.
    pub fn reopen(&mut self) {
        self.take_up().ok();
        self.keep_bounds();
    }

    fn take_up(&mut self) -> io::Result<()> {
        let file = own_file::open_to_append(&self.path)?;
        self.length = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn keep_bounds(&mut self) {
        if self.length <= self.longest {
            return;
        }
        // Another daemon with the same log may have started a new file.
        let is_long = fs::symlink_metadata(&self.path).is_ok_and(|found| found.len() > self.longest);
        let is_aside = !is_long || fs::rename(&self.path, self.path.with_extension("log.old")).is_ok();
        let is_new = is_aside && self.take_up().is_ok() && self.length <= self.longest;
        if !is_new && let Some(file) = &self.file {
            // Where there can be no second file, the first is emptied.
            file.set_len(0).ok();
            self.length = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize) -> String {
        format!("line {number:04}\n")
    }

    #[test]
    fn a_log_stays_bounded_while_it_is_written_and_its_last_lines_are_all_there() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state/daemon.log");
        let mut log = LogFile::open_with(&path, 100).unwrap();
        for number in 0..1000 {
            log.write(line(number).as_bytes());
        }
        let (new, old) =
            (fs::read_to_string(&path).unwrap(), fs::read_to_string(path.with_extension("log.old")).unwrap());
        assert!(new.len() <= 110 && old.len() <= 110, "{} and {}", new.len(), old.len());
        let kept = old + &new;
        let count = kept.lines().count();
        assert!(count > 10);
        assert_eq!(kept, (1000 - count..1000).map(line).collect::<String>());
    }

    #[test]
    fn where_no_older_file_can_be_the_log_stays_bounded_all_the_same() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("daemon.log");
        // A folder that is not empty cannot be replaced by a file.
        fs::create_dir_all(home.path().join("daemon.log.old/full")).unwrap();
        let mut log = LogFile::open_with(&path, 100).unwrap();
        for number in 0..1000 {
            log.write(line(number).as_bytes());
        }
        let kept = fs::read_to_string(&path).unwrap();
        assert!(kept.len() <= 110 && kept.ends_with(&line(999)) || kept.is_empty(), "{kept}");
    }

    #[test]
    fn two_daemons_with_one_log_lose_no_line_of_each_other() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("daemon.log");
        let mut one = LogFile::open_with(&path, 100).unwrap();
        let mut other = LogFile::open_with(&path, 100).unwrap();
        for number in 0..8 {
            one.write(line(2 * number).as_bytes());
            other.write(line(2 * number + 1).as_bytes());
        }
        let old = fs::read_to_string(path.with_extension("log.old")).unwrap_or_default();
        let kept = old + &fs::read_to_string(&path).unwrap();
        let mut lines: Vec<_> = kept.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines.len(), 16, "{kept}");
    }

    #[test]
    fn a_log_that_was_moved_away_is_begun_anew_when_it_is_reopened() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("daemon.log");
        let mut log = LogFile::open(&path).unwrap();
        fs::rename(&path, home.path().join("daemon.log.1")).unwrap();
        log.reopen();
        log.write(b"a line\n");
        assert_eq!(fs::read(&path).unwrap(), b"a line\n");
    }
}
