//! How similar two words are, so that a message can suggest what a misspelt one may mean.
//! Does not: correct it.
//! Used by: the broker, for the names of profiles, and the config file, for its keys.

/// The number of letters to insert, remove or replace (Levenshtein).
pub fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.bytes().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for ((other, diagonal), above) in other.bytes().zip(&row).zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(letter != other)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Most names that a message lists.
const LISTED: usize = 5;

/// The names as a list for people, the most similar first; of many, only the first few.
pub fn list<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    // A long text is no misspelt name, and would take long to compare.
    let written = written.get(..64).unwrap_or(written).to_ascii_lowercase();
    let mut names: Vec<_> =
        names.into_iter().map(|name| (distance(&written, &name.to_ascii_lowercase()), name)).collect();
    names.sort_unstable();
    let mut shown: Vec<_> = names.iter().take(LISTED).map(|(_, name)| (*name).to_owned()).collect();
    if names.len() > LISTED {
        shown.push(format!("{} more", names.len() - LISTED));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_comes_first_and_a_long_list_is_cut() {
        assert_eq!(list("wrok", ["default", "home", "work"]), "work, home, default");
        assert_eq!(list("WORK", ["home", "work"]), "work, home");
        let many: Vec<_> = (0..1000).map(|number| format!("p{number}")).collect();
        assert_eq!(list("p999", many.iter().map(String::as_str)), "p999, p199, p299, p399, p499, 995 more");
    }
}
