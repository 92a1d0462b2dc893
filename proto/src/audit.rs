//! A decision about who gets a token, as the daemon remembers it.
//! Does not: hold a token.
//! Used by: the daemon, which tells the last ones; `rally-cred status --audit`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// A decision. On the wire it is a map of texts, which costs the small clients no code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// When, in seconds since 1970.
    pub at: i64,
    /// `token`, `static_credential` or `refused`.
    pub verdict: String,
    /// Why, as far as there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Of a refusal: its kind, as in `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whose token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The server, if it is not the profile's Rally.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The process that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// The program that it asks for: itself, or whatever started `rally-cred`; absent where that is not certain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The gateway that asked, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Whether it came by the socket for other machines.
    pub forwarded: bool,
}

impl Decision {
    /// As it stands on the wire.
    pub fn to_texts(&self) -> BTreeMap<String, String> {
        let fields = serde_json::to_value(self).ok();
        let text = |(name, value): (&String, &Value)| match value {
            Value::Bool(false) => None,
            Value::String(text) => Some((name.clone(), text.clone())),
            value => Some((name.clone(), value.to_string())),
        };
        fields.iter().filter_map(Value::as_object).flatten().filter_map(text).collect()
    }

    /// The same back. What is missing or unreadable stays out.
    pub fn of_texts(mut texts: BTreeMap<String, String>) -> Self {
        let mut take = |name| texts.remove(name);
        Self {
            at: take("at").and_then(|at| at.parse().ok()).unwrap_or_default(),
            verdict: take("verdict").unwrap_or_default(),
            why: take("why"),
            kind: take("kind"),
            profile: take("profile"),
            server: take("server"),
            pid: take("pid").and_then(|pid| pid.parse().ok()),
            uid: take("uid").and_then(|uid| uid.parse().ok()),
            exe: take("exe"),
            caller: take("caller"),
            gateway: take("gateway"),
            forwarded: take("forwarded").is_some_and(|forwarded| forwarded == "true"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_comes_back_from_its_texts_as_it_was() {
        let text = |text: &str| Some(text.to_owned());
        let whole = Decision {
            at: 7,
            verdict: "refused".to_owned(),
            why: text("why"),
            kind: text("locked"),
            profile: text("work"),
            server: text("https://mcp.rallydev.com"),
            pid: Some(1),
            uid: Some(2),
            exe: text("/usr/bin/rally-cred"),
            caller: text("/usr/bin/git"),
            gateway: text("mcp"),
            forwarded: true,
        };
        for decision in [whole, Decision { at: -1, verdict: "token".to_owned(), ..Decision::default() }] {
            assert_eq!(Decision::of_texts(decision.to_texts()), decision);
        }
    }
}
