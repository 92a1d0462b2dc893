//! The pictures in the documents: a terminal session drawn as SVG, and a PNG that carries the source of what it shows.
//! Does not: run a session or take a screenshot.
//! Used by: the tests that make the pictures and hold them to the programs.

use std::fmt::Write;

/// Columns of the terminal; longer lines go on in the next row.
const COLUMNS: usize = 100;

/// Tenths of a pixel: a column of a monospace font of 14 pixels, which `textLength` makes so whatever the font.
const COLUMN: usize = 84;

/// Pixels from row to row, and around the text.
const ROW: usize = 20;
const MARGIN: usize = 16;

/// A terminal session as SVG. Lines that begin with `$ ` are what is typed.
pub fn terminal(session: &str) -> String {
    let rows: Vec<(bool, String)> = session.lines().flat_map(rows).collect();
    let width = COLUMNS * COLUMN / 10 + 2 * MARGIN;
    let height = rows.len() * ROW + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"14\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#1b222a\"/>\n"
    );
    for (row, (is_typed, text)) in rows.iter().enumerate().filter(|(_, (_, text))| !text.trim().is_empty()) {
        let indent = text.chars().take_while(|c| *c == ' ').count();
        let (x, y) = (MARGIN * 10 + indent * COLUMN, MARGIN + row * ROW + 14);
        let length = (text.chars().count() - indent) * COLUMN;
        let colour = if *is_typed { "#6fd39a" } else { "#e8edf2" };
        let text = text.trim_start().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        // Not all renderers keep spaces that follow each other.
        let text = text.replace("  ", "\u{a0}\u{a0}");
        writeln!(
            svg,
            "<text x=\"{}.{}\" y=\"{y}\" textLength=\"{}.{}\" fill=\"{colour}\">{text}</text>",
            x / 10,
            x % 10,
            length / 10,
            length % 10
        )
        .ok();
    }
    svg + "</svg>\n"
}

/// A line as the rows of the terminal that it takes, and whether it is typed.
fn rows(line: &str) -> Vec<(bool, String)> {
    let characters: Vec<char> = line.chars().collect();
    let is_typed = line.starts_with("$ ");
    let row = |row: &[char]| (is_typed, row.iter().collect());
    if characters.is_empty() { vec![row(&[])] } else { characters.chunks(COLUMNS).map(row).collect() }
}

/// What stands before the source in a PNG: a chunk `iTXt` with this keyword, uncompressed, in no language.
const SOURCE: &[u8] = b"iTXtSource\0\0\0\0\0";

/// The chunk that ends every PNG: no data, its type, its checksum.
const END: usize = 12;

/// A PNG with the source of what it shows inside of it, where no viewer shows it.
pub fn with_source(png: &[u8], source: &str) -> Vec<u8> {
    let chunk = [SOURCE, source.as_bytes()].concat();
    let length = u32::try_from(chunk.len() - b"iTXt".len()).unwrap_or(u32::MAX);
    let (begin, end) = png.split_at(png.len().saturating_sub(END));
    [begin, &length.to_be_bytes(), &chunk, &checksum(&chunk).to_be_bytes(), end].concat()
}

/// The source that a PNG carries.
pub fn source_of(png: &[u8]) -> Option<String> {
    let at = png.windows(SOURCE.len()).position(|window| window == SOURCE)?;
    let length = png.get(at.checked_sub(4)?..at)?.try_into().ok().map(u32::from_be_bytes)?;
    let chunk = png.get(at + b"iTXt".len()..)?.get(..usize::try_from(length).ok()?)?;
    String::from_utf8(chunk.get(SOURCE.len() - b"iTXt".len()..)?.to_vec()).ok()
}

/// The CRC of PNG (ISO 3309).
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_becomes_rows_that_an_xml_reader_takes() {
        let svg = terminal(&format!("$ a <b\n\n  x & y\n{}", "z".repeat(101)));
        assert!(svg.contains(r##"y="30" textLength="50.4" fill="#6fd39a">$ a &lt;b</text>"##), "{svg}");
        assert!(
            svg.contains(r##"<text x="32.8" y="70" textLength="42.0" fill="#e8edf2">x &amp; y</text>"##),
            "{svg}"
        );
        assert!(svg.contains(r#"y="110" textLength="8.4""#), "a long line goes on in the next row: {svg}");
    }

    #[test]
    fn a_png_gives_back_the_source_that_it_was_given() {
        // The checksum of an empty chunk IEND is part of every PNG.
        assert_eq!(checksum(b"IEND"), 0xae42_6082);
        let png = b"before\0\0\0\0IEND\xae\x42\x60\x82";
        let carrying = with_source(png, "Signed in – rally-cred");
        assert_eq!(source_of(&carrying).as_deref(), Some("Signed in – rally-cred"));
        assert_eq!(source_of(png), None);
        assert!(carrying.ends_with(&png[6..]));
    }
}
