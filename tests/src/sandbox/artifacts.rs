//! A small made-up backlog, as WSAPI objects: 25 stories, 4 defects, 3 tasks, and the user they belong to.
//! Does not: change; every call makes the same objects.
//! Met by: `wsapi`.

use serde_json::{Map, Value, json};

use super::options::User;

/// The artifact types the sandbox has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Story,
    Defect,
    Task,
}

/// Objects name Rally's own host in their references, whatever address the client asked.
const REFERENCES: &str = "https://rally1.rallydev.com/slm/webservice/v2.0";

const TITLES: [&str; 5] = [
    "Sign in once a day",
    "Keep the key out of shell history",
    "Say why access was refused",
    "Renew before the meeting, not in it",
    "Survive a closed laptop lid",
];

impl Kind {
    /// The type that a path names; case does not matter.
    pub(super) fn named(name: &str) -> Option<Kind> {
        match name.to_ascii_lowercase().as_str() {
            "hierarchicalrequirement" => Some(Kind::Story),
            "defect" => Some(Kind::Defect),
            "task" => Some(Kind::Task),
            _ => None,
        }
    }

    pub(super) fn type_name(self) -> &'static str {
        match self {
            Kind::Story => "HierarchicalRequirement",
            Kind::Defect => "Defect",
            Kind::Task => "Task",
        }
    }
}

/// Every artifact of one type, owned by the sandbox's user, in the order of their numbers.
pub(super) fn all(kind: Kind, owner: &User) -> Vec<Map<String, Value>> {
    let (count, prefix, first_id, state, states) = match kind {
        Kind::Story => {
            (25, "US", 52_000_000, "ScheduleState", ["Defined", "In-Progress", "Completed", "Accepted"])
        }
        Kind::Defect => (4, "DE", 53_000_000, "State", ["Submitted", "Open", "Fixed", "Closed"]),
        Kind::Task => (3, "TA", 54_000_000, "State", ["Defined", "In-Progress", "Completed", "Completed"]),
    };
    let titles = TITLES.iter().cycle().zip(states.iter().cycle());
    (1..=count)
        .zip(titles)
        .map(|(number, (title, now))| {
            let id = first_id + number;
            let mut artifact = object(kind.type_name(), id, title);
            artifact.insert("FormattedID".into(), json!(format!("{prefix}{number}")));
            artifact.insert("Name".into(), json!(title));
            artifact.insert(state.into(), json!(now));
            artifact.insert("Owner".into(), json!(reference("User", owner.object_id, &owner.display_name)));
            artifact.insert("CreationDate".into(), json!("2024-02-29T09:30:00.000Z"));
            artifact
        })
        .collect()
}

/// The user as a WSAPI object.
pub(super) fn user(user: &User) -> Map<String, Value> {
    let mut object = object("User", user.object_id, &user.display_name);
    object.insert("UserName".into(), json!(user.user_name));
    object.insert("DisplayName".into(), json!(user.display_name));
    object.insert("EmailAddress".into(), json!(user.email_address));
    object.insert("Disabled".into(), json!(false));
    object
}

/// The part of an object that `fetch` names: the fields in a comma-separated list, all for `true`,
/// and for anything else only what every object carries.
pub(super) fn fetched(mut object: Map<String, Value>, fetch: &str) -> Map<String, Value> {
    if !fetch.eq_ignore_ascii_case("true") {
        let wanted: Vec<&str> = fetch.split(',').map(str::trim).collect();
        object.retain(|name, _| name.starts_with('_') || wanted.contains(&name.as_str()));
    }
    object
}

fn object(type_name: &str, id: u64, name: &str) -> Map<String, Value> {
    let mut object = reference(type_name, id, name);
    object.insert("ObjectID".into(), json!(id));
    object
}

/// What every object carries, whatever was fetched, and all that one object has of another.
fn reference(type_name: &str, id: u64, name: &str) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("_rallyAPIMajor".into(), json!("2"));
    object.insert("_rallyAPIMinor".into(), json!("0"));
    object.insert("_ref".into(), json!(format!("{REFERENCES}/{}/{id}", type_name.to_ascii_lowercase())));
    object.insert("_refObjectName".into(), json!(name));
    object.insert("_type".into(), json!(type_name));
    object
}
