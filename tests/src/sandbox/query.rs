//! WSAPI's query language, as far as toolkits use it: `(Name = "a")`, `!=` and `contains`, joined by `AND`.
//! Does not: know `OR`, or compare numbers or dates by size.
//! Used by: `reading`. The texts of the errors follow what was seen of Rally; clients must not depend on them.

use serde_json::{Map, Value};

use super::shape::target;

/// Conditions that all have to hold: an attribute, an operator, and a value.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String, String)>);

/// Parses a query over objects of one type that have the `known` attributes; the error is what goes into `Errors`.
pub(super) fn parse(text: &str, type_name: &str, known: &[String]) -> Result<Query, String> {
    let mut words = words(text).into_iter();
    let mut conditions = Vec::new();
    loop {
        let mut next = || words.next().ok_or_else(|| "Could not parse: the query ends too early".to_owned());
        let (name, operator, value) = (next()?, next()?, next()?);
        if !known.contains(&name) {
            return Err(format!(
                "Could not parse: Could not find the attribute \"{name}\" on type {type_name} in the query segment \
                 \"{name} {operator} {value}\""
            ));
        }
        if !["=", "!=", "contains"].contains(&operator.as_str()) {
            return Err(format!("Could not parse: Unknown operator \"{operator}\""));
        }
        conditions.push((name, operator, value));
        match words.next() {
            None => return Ok(Query(conditions)),
            Some(joint) if joint.eq_ignore_ascii_case("AND") => {}
            Some(joint) => return Err(format!("Could not parse: Unknown operator \"{joint}\"")),
        }
    }
}

impl Query {
    /// Whether an object meets it. Letters' case does not matter; an attribute the object lacks is an empty text.
    pub(super) fn holds(&self, object: &Map<String, Value>) -> bool {
        self.0.iter().all(|(name, operator, value)| {
            let (own, value) = match object.get(name) {
                Some(Value::String(text)) => (text.to_lowercase(), value.to_lowercase()),
                Some(Value::Object(reference)) => {
                    let own = reference.get("_ref").and_then(Value::as_str).unwrap_or_default();
                    (relative(own), relative(value))
                }
                own => (own.map(Value::to_string).unwrap_or_default(), value.to_lowercase()),
            };
            match operator.as_str() {
                "=" => own == value,
                "!=" => own != value,
                _ => own.contains(&value),
            }
        })
    }
}

/// A reference without what stands before the type: clients write `/defect/1`, objects have the whole address.
fn relative(reference: &str) -> String {
    let (type_name, id) = target(reference).unwrap_or((reference, 0));
    format!("{}/{id}", type_name.to_lowercase())
}

/// Quoted texts (without their quotes), and words between blanks and parentheses, which say nothing where all is joined
/// by `AND`.
fn words(text: &str) -> Vec<String> {
    let is_between = |letter: char| letter.is_whitespace() || "()".contains(letter);
    let quoted = text.split('"').enumerate().flat_map(|(number, part)| match number % 2 {
        1 => vec![part],
        _ => part.split(is_between).filter(|word| !word.is_empty()).collect(),
    });
    quoted.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_answered_or_says_what_is_wrong_with_it() {
        let owner = serde_json::json!({ "_ref": "https://rally/slm/webservice/v2.0/user/1" });
        let object = serde_json::json!({ "Name": "Sign in once", "FormattedID": "US1", "ObjectID": 7, "Owner": owner });
        let object = object.as_object().unwrap();
        let known: Vec<String> = object.keys().cloned().collect();
        for (query, wanted) in [
            (r#"(FormattedID = "us1")"#, Ok(true)),
            ("(FormattedID != US1)", Ok(false)),
            ("((ObjectID = 7))", Ok(true)),
            (r#"(Name contains "sign IN")"#, Ok(true)),
            ("((ObjectID = 7) AND (FormattedID = US2))", Ok(false)),
            ("(Owner = /user/1)", Ok(true)),
            ("(Owner = https://rally/slm/webservice/v2.0/user/2)", Ok(false)),
            ("(Nonsense = 1)", Err(r#"attribute "Nonsense" on type Defect"#)),
            ("(Name ~ 1)", Err(r#"Unknown operator "~""#)),
            ("((Name = 1) OR (Name = 2))", Err(r#"Unknown operator "OR""#)),
            ("(Name = )", Err("ends too early")),
        ] {
            match (parse(query, "Defect", &known), wanted) {
                (Ok(parsed), Ok(holds)) => assert_eq!(parsed.holds(object), holds, "{query}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{query}: {error}"),
                (parsed, _) => panic!("{query}: {parsed:?}"),
            }
        }
    }
}
