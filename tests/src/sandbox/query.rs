//! WSAPI's query language, as far as tools commonly use it: `(Name = "a")`, `!=`, `contains`, joined by `AND` and `OR`.
//! Does not: compare numbers or dates by size.
//! Used by: `reading`. The texts of the errors follow what was seen of Rally; clients must not depend on them.

use serde_json::{Map, Value};

use super::shape::target;

/// A parsed query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Equal(String, String),
    Unequal(String, String),
    Contains(String, String),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

/// Parses a query over objects of one type that have the `known` attributes; the error is what goes into `Errors`.
pub(super) fn parse(text: &str, type_name: &str, known: &[String]) -> Result<Condition, String> {
    let mut words = words(text).into_iter();
    let condition = group(&mut words, &Attributes { type_name, known }, 0)?;
    match words.next() {
        None => Ok(condition),
        Some(word) => Err(unexpected(&word)),
    }
}

impl Condition {
    /// Whether an object meets it. Letters' case does not matter; an attribute the object lacks is an empty text.
    pub(super) fn holds(&self, object: &Map<String, Value>) -> bool {
        // What the object has and what is asked for, in a form that can be compared.
        let pair = |name: &str, value: &str| match object.get(name) {
            Some(Value::String(text)) => (text.to_lowercase(), value.to_lowercase()),
            Some(Value::Object(reference)) => {
                let own = reference.get("_ref").and_then(Value::as_str).unwrap_or_default();
                (relative(own), relative(value))
            }
            Some(own) => (own.to_string(), value.to_lowercase()),
            None => (String::new(), value.to_lowercase()),
        };
        let compare = |name: &str, value: &str, test: fn(&str, &str) -> bool| {
            let (own, value) = pair(name, value);
            test(&own, &value)
        };
        match self {
            Condition::Equal(name, value) => compare(name, value, |own, value| own == value),
            Condition::Unequal(name, value) => compare(name, value, |own, value| own != value),
            Condition::Contains(name, value) => compare(name, value, |own, value| own.contains(value)),
            Condition::And(left, right) => left.holds(object) && right.holds(object),
            Condition::Or(left, right) => left.holds(object) || right.holds(object),
        }
    }
}

/// A reference without what stands before the type: clients write `/defect/1`, objects have the whole address.
fn relative(reference: &str) -> String {
    let (type_name, id) = target(reference).unwrap_or((reference, 0));
    format!("{}/{id}", type_name.to_lowercase())
}

struct Attributes<'a> {
    type_name: &'a str,
    known: &'a [String],
}

/// Deeper nesting than anyone writes; the parser's stack stays small.
const DEEPEST: usize = 32;

fn group(
    words: &mut impl Iterator<Item = String>,
    attributes: &Attributes<'_>,
    depth: usize,
) -> Result<Condition, String> {
    if depth > DEEPEST {
        return Err("Could not parse: too many parentheses".into());
    }
    expect("(", words)?;
    inside(words, attributes, depth)
}

/// What stands after an opening parenthesis, up to and with the closing one.
fn inside(
    words: &mut impl Iterator<Item = String>,
    attributes: &Attributes<'_>,
    depth: usize,
) -> Result<Condition, String> {
    let first = next(words)?;
    if first != "(" {
        let (operator, value) = (next(words)?, next(words)?);
        if !attributes.known.contains(&first) {
            let type_name = attributes.type_name;
            return Err(format!(
                "Could not parse: Could not find the attribute \"{first}\" on type {type_name} in the query segment \"{first} {operator} {value}\""
            ));
        }
        let condition = match operator.as_str() {
            "=" => Condition::Equal(first, value),
            "!=" => Condition::Unequal(first, value),
            "contains" => Condition::Contains(first, value),
            _ => return Err(format!("Could not parse: Unknown operator \"{operator}\"")),
        };
        expect(")", words)?;
        return Ok(condition);
    }
    if depth > DEEPEST {
        return Err("Could not parse: too many parentheses".into());
    }
    let left = Box::new(inside(words, attributes, depth + 1)?);
    let joint = next(words)?;
    if joint == ")" {
        return Ok(*left);
    }
    let right = Box::new(group(words, attributes, depth + 1)?);
    expect(")", words)?;
    match joint.to_ascii_uppercase().as_str() {
        "AND" => Ok(Condition::And(left, right)),
        "OR" => Ok(Condition::Or(left, right)),
        _ => Err(format!("Could not parse: Unknown operator \"{joint}\"")),
    }
}

fn next(words: &mut impl Iterator<Item = String>) -> Result<String, String> {
    words.next().ok_or_else(|| "Could not parse: the query ends too early".to_owned())
}

fn expect(wanted: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
    let word = next(words)?;
    if word == wanted { Ok(()) } else { Err(unexpected(&word)) }
}

fn unexpected(word: &str) -> String {
    format!("Could not parse: Error parsing expression -- expected a parenthesis but saw \"{word}\" instead.")
}

/// Parentheses, quoted texts (without their quotes), and words between blanks.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '(' | ')' => (first.to_string(), rest.get(1..)),
            '"' => {
                let quoted = rest.get(1..).unwrap_or_default();
                match quoted.split_once('"') {
                    Some((word, after)) => (word.to_owned(), Some(after)),
                    None => (quoted.to_owned(), None),
                }
            }
            _ => {
                let end =
                    rest.find(|c: char| c.is_whitespace() || c == '(' || c == ')').unwrap_or(rest.len());
                (
                    rest.chars().take_while(|c| !c.is_whitespace() && *c != '(' && *c != ')').collect(),
                    rest.get(end..),
                )
            }
        };
        words.push(word);
        rest = after.unwrap_or_default().trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, wanted: Result<bool, &str>) {
        let object = serde_json::json!({ "Name": "Sign in once", "FormattedID": "US1", "ObjectID": 7, "Owner": { "_ref": "https://rally/slm/webservice/v2.0/user/1" } });
        let known: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
        match (parse(query, "Defect", &known), wanted) {
            (Ok(condition), Ok(holds)) => {
                assert_eq!(condition.holds(object.as_object().unwrap()), holds, "{query}")
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{query}: {error}"),
            (parsed, _) => panic!("{query}: {parsed:?}"),
        }
    }

    #[test]
    fn a_query_is_answered_or_says_what_is_wrong_with_it() {
        check(r#"(FormattedID = "US1")"#, Ok(true));
        check("(FormattedID = us1)", Ok(true));
        check("(FormattedID != US1)", Ok(false));
        check("((ObjectID = 7))", Ok(true));
        check(r#"(Name contains "sign IN")"#, Ok(true));
        check("((ObjectID = 7) AND (FormattedID = US2))", Ok(false));
        check("((ObjectID = 8) OR ((FormattedID = US1) AND (Name contains once)))", Ok(true));
        check("(Owner = /user/1)", Ok(true));
        check("(Owner = https://rally/slm/webservice/v2.0/user/2)", Ok(false));
        check("(Nonsense = 1)", Err(r#"attribute "Nonsense" on type Defect"#));
        check("(Name ~ 1)", Err(r#"Unknown operator "~""#));
        check("(Name = )", Err("ends too early"));
        check("Name = 1", Err("expected a parenthesis"));
        check("(Name = 1) (Name = 2)", Err("expected a parenthesis"));
        check(&"(".repeat(10_000), Err("too many parentheses"));
    }
}
