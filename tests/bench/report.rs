//! The figures as they are printed: tables of runs, and lines that hold a figure against its target.
//! Does not: measure, but for the sizes of files.
//! Used by: `main`, and every part that measures.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::fmt::Write;

use rally_cred_tests::world;

/// What was found out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    tables: String,
    verdicts: String,
}

impl Report {
    /// Adds a heading, or a line of a table.
    pub(crate) fn line(&mut self, line: &str) {
        // While it runs, so that somebody who waits sees something.
        println!("{line}");
        self.tables.push_str(line);
        self.tables.push('\n');
    }

    /// Holds a figure against the most that it should be.
    pub(crate) fn at_most(&mut self, figure: &str, value: f64, most: f64, unit: &str) {
        self.verdict(figure, value, most, unit, value <= most, '≤');
    }

    /// Holds a figure against the least that it should be.
    pub(crate) fn at_least(&mut self, figure: &str, value: f64, least: f64, unit: &str) {
        self.verdict(figure, value, least, unit, value >= least, '≥');
    }

    fn verdict(&mut self, figure: &str, value: f64, target: f64, unit: &str, is_met: bool, sign: char) {
        let word = if is_met { "reached" } else { "MISSED" };
        writeln!(self.verdicts, "{figure:<72} {value:>9.2} {unit:<8} {sign} {target:<7} {word}").ok();
    }

    /// Prints what was held against targets; the rest has been printed.
    pub(crate) fn print(&self) {
        println!("\n== Against the targets\n{}", self.verdicts);
    }
}

/// Sizes of the programs as they are shipped.
pub(crate) fn sizes(report: &mut Report) {
    let programs = world::programs();
    let client = world::static_programs().unwrap_or_else(|| programs.clone());
    for (name, folder, most) in [("rally-cred", client, 700.0), ("rally-credd", programs, 6.0 * 1024.0)] {
        let kib = std::fs::metadata(folder.join(name)).map_or(0, |found| found.len() / 1024);
        report.at_most(&format!("size of {name}"), as_float(kib), most, "KiB");
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes far below 2^52")]
pub(crate) fn as_float(number: u64) -> f64 {
    number as f64
}

/// Of as many turns.
pub(crate) fn median(mut found: Vec<f64>) -> f64 {
    found.sort_by(f64::total_cmp);
    found.get(found.len() / 2).copied().unwrap_or(f64::NAN)
}
