//! Durations as people write them on a command line.
//! Does not: know fractions or more than one unit, which no option here needs.
//! Used by: the options of client and daemon that take one.

/// The seconds in `30s`, `2m`, `1h` or, without a unit, `90`. `None` for anything else.
pub fn parse(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match text.strip_prefix(digits)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return None,
    };
    // `parse` alone would take a plus sign.
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse::<u32>().ok()?.checked_mul(scale)).flatten()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_duration_is_a_number_with_at_most_one_unit() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("2m", Some(120)),
            ("1h", Some(3600)),
            ("90", Some(90)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("+1", None),
            ("1.5m", None),
            ("1m30s", None),
            ("1 m", None),
            ("5d", None),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("4294967295m", None),
        ] {
            assert_eq!(super::parse(text), expected, "{text}");
        }
    }
}
