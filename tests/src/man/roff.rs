//! Writes a page of Markdown as a page of the manual, in the macros of man(7), with tbl(1) for its tables.
//! Does not: know what the pages say; images, HTML and footnotes, which they do not have, are left out.
//! Used by: `man`.

use std::fmt::Write;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// The page `title(section)` of this release. Second-level headings become its sections; a first-level one is left out,
/// since the title says as much.
pub(super) fn page(title: &str, section: u8, date: &str, release: &str, markdown: &str) -> String {
    let mut page = Page::default();
    // The first line has whoever shows the page run tbl. Without a space behind `'\"` it would be a comment only.
    writeln!(page.out, "'\\\" t").ok();
    writeln!(page.out, ".TH \"{}\" {section} \"{date}\" \"{release}\"", escaped(&title.to_uppercase())).ok();
    // Names and numbers on narrow screens: neither cut words nor stretch lines.
    page.out.push_str(".nh\n.ad l\n");
    let options = Options::ENABLE_TABLES | Options::ENABLE_DEFINITION_LIST;
    Parser::new_ext(markdown, options).for_each(|event| page.take(event));
    page.out
}

#[derive(Default)]
struct Page {
    out: String,
    /// The inline text since the last block began.
    text: String,
    /// The number of the next item of each list that is open; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// Whether the next paragraph belongs to a tag that has just been written, and so needs no macro of its own.
    is_tagged: bool,
    in_code: bool,
    /// The cells of the table that is open, row by row.
    table: Vec<Vec<String>>,
    /// Where the link leads that is open, if it is worth showing.
    link: Option<String>,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => self.text.push_str(&literal(&text)),
            Event::Text(text) => self.text.push_str(&escaped(&text)),
            Event::Code(code) => write!(self.text, "\\fB{}\\fR", literal(&code)).unwrap_or_default(),
            Event::SoftBreak => self.text.push('\n'),
            Event::HardBreak => self.text.push_str("\n.br\n"),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph if self.is_tagged => {}
            Tag::Paragraph if self.lists.is_empty() => self.begin_paragraph(),
            Tag::Paragraph => self.out.push_str(".IP\n"),
            Tag::CodeBlock(_) => {
                self.flush();
                self.in_code = true;
                self.begin_paragraph();
                self.out.push_str(".RS 4\n.nf\n");
            }
            Tag::List(first) => {
                self.flush();
                if !self.lists.is_empty() {
                    self.out.push_str(".RS 4\n");
                }
                self.lists.push(first);
            }
            Tag::Item => {
                match self.lists.last_mut() {
                    Some(Some(number)) => {
                        writeln!(self.out, ".IP {number}. 4").ok();
                        *number += 1;
                    }
                    _ => self.out.push_str(".IP \\(bu 4\n"),
                }
                self.is_tagged = true;
            }
            Tag::DefinitionListTitle => self.out.push_str(".TP\n"),
            Tag::DefinitionListDefinition => self.is_tagged = true,
            Tag::Table(_) => self.table.clear(),
            Tag::TableHead | Tag::TableRow => self.table.push(Vec::new()),
            Tag::Strong => self.text.push_str("\\fB"),
            Tag::Emphasis => self.text.push_str("\\fI"),
            Tag::Link { dest_url, .. } => self.link = Some(dest_url.to_string()),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let text = std::mem::take(&mut self.text).replace("\\fB", "").replace("\\fR", "");
                match level {
                    HeadingLevel::H1 => {}
                    HeadingLevel::H2 => {
                        writeln!(self.out, ".SH \"{}\"", text.to_uppercase()).unwrap_or_default()
                    }
                    _ => writeln!(self.out, ".SS \"{text}\"").unwrap_or_default(),
                }
            }
            TagEnd::Paragraph | TagEnd::DefinitionListTitle | TagEnd::DefinitionListDefinition => {
                self.flush()
            }
            TagEnd::Item => {
                self.flush();
                self.is_tagged = false;
            }
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.flush();
                self.out.push_str(".fi\n.RE\n");
            }
            TagEnd::List(_) => {
                self.lists.pop();
                if !self.lists.is_empty() {
                    self.out.push_str(".RE\n");
                }
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.text);
                self.table.last_mut().into_iter().for_each(|row| row.push(cell.clone()));
            }
            TagEnd::Table => self.write_table(),
            TagEnd::Strong | TagEnd::Emphasis => self.text.push_str("\\fR"),
            TagEnd::Link => {
                let link = self.link.take().filter(|link| link.starts_with("http"));
                if let Some(link) = link.filter(|link| !self.text.ends_with(&escaped(link))) {
                    write!(self.text, " <{}>", escaped(&link)).ok();
                }
            }
            _ => {}
        }
    }

    /// A heading begins one by itself.
    fn begin_paragraph(&mut self) {
        let last = self.out.trim_end().rsplit('\n').next().unwrap_or_default();
        if !last.starts_with(".S") {
            self.out.push_str(".PP\n");
        }
    }

    /// Writes the inline text, so that no line of it is taken for a macro.
    fn flush(&mut self) {
        for line in std::mem::take(&mut self.text).lines() {
            if line.starts_with(['.', '\'']) && line != ".br" {
                self.out.push_str("\\&");
            }
            self.out.push_str(line);
            self.out.push('\n');
        }
        self.is_tagged = false;
    }

    /// The last column takes what room there is, the others as much as they need.
    fn write_table(&mut self) {
        let rows = std::mem::take(&mut self.table);
        let columns = rows.first().map_or(0, Vec::len);
        let layout = format!("{}lx", "l ".repeat(columns.saturating_sub(1)));
        self.begin_paragraph();
        self.out.push_str(".TS\n");
        writeln!(self.out, "{}.", layout.replace('l', "lb") + "\n" + &layout).ok();
        for row in rows {
            let cells: Vec<_> = row.iter().map(|cell| format!("T{{\n\\&{cell}\nT}}")).collect();
            writeln!(self.out, "{}", cells.join("\t")).ok();
        }
        self.out.push_str(".TE\n");
    }
}

/// Text as it is read, in which the formatter may choose its dashes and quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
}

/// Text as it is typed: a dash stays the character on the keyboard, and so do quotes.
fn literal(text: &str) -> String {
    let mut literal = String::new();
    for c in text.chars() {
        match c {
            '\\' => literal.push_str("\\e"),
            '-' => literal.push_str("\\-"),
            '\'' => literal.push_str("\\(aq"),
            '`' => literal.push_str("\\(ga"),
            '^' => literal.push_str("\\(ha"),
            '~' => literal.push_str("\\(ti"),
            c => literal.push(c),
        }
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(markdown: &str, expected: &str) {
        let page = page("x", 1, "", "", markdown);
        assert_eq!(page.split_once(".ad l\n").unwrap().1, expected, "{markdown}");
    }

    #[test]
    fn each_kind_of_block_has_its_macros() {
        for (markdown, expected) in [
            ("# T\n## A b\n### `c-d`", ".SH \"A B\"\n.SS \"c\\-d\"\n"),
            ("# T\n## A\none", ".SH \"A\"\none\n"),
            ("one\ntwo\n\nthree", ".PP\none\ntwo\n.PP\nthree\n"),
            ("- a\n- b\n  - c\n\nd", ".IP \\(bu 4\na\n.IP \\(bu 4\nb\n.RS 4\n.IP \\(bu 4\nc\n.RE\n.PP\nd\n"),
            ("1. a\n\n   b\n2. c", ".IP 1. 4\na\n.IP\nb\n.IP 2. 4\nc\n"),
            ("```\na -b\n\n.c\n```", ".PP\n.RS 4\n.nf\na \\-b\n\n\\&.c\n.fi\n.RE\n"),
            ("`--a` *B*\n:   what", ".TP\n\\fB\\-\\-a\\fR \\fIB\\fR\nwhat\n"),
            (
                "|a|b|\n|-|-|\n|1|`2`|",
                ".PP\n.TS\nlb lbx\nl lx.\nT{\n\\&a\nT}\tT{\n\\&b\nT}\nT{\n\\&1\nT}\tT{\n\\&\\fB2\\fR\nT}\n.TE\n",
            ),
        ] {
            check(markdown, expected);
        }
    }

    #[test]
    fn no_text_is_taken_for_a_macro_or_an_escape() {
        check(".so x\n'y \\z", ".PP\n\\&.so x\n\\&'y \\ez\n");
        check("`a'b\\`", ".PP\n\\fBa\\(aqb\\e\\fR\n");
    }

    #[test]
    fn a_link_is_shown_where_it_leads_away() {
        check("[a](b.md) <https://x.org> [y](https://y.org)", ".PP\na https://x.org y <https://y.org>\n");
    }
}
