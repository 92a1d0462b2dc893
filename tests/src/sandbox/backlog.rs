//! The artifacts: a small made-up backlog (25 stories, 4 defects, 3 tasks), and what clients add to it and take away.
//! Does not: check what it is given (`writing` has), or outlive the sandbox.
//! Used by: `catalogue` (reads) and `writing`.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::options::User;
use super::schema::{TYPES, Type};
use super::shape::{Object, Shape};
use super::tenant;

/// Every artifact there is, oldest first.
#[derive(Default)]
pub(super) struct Backlog {
    artifacts: Vec<Object>,
    /// How many of each type there ever were: a number is not used twice.
    made: HashMap<&'static str, i64>,
}

const TITLES: [&str; 5] = [
    "Sign in once a day",
    "Keep the key out of shell history",
    "Say why access was refused",
    "Renew before the meeting, not in it",
    "Survive a closed laptop lid",
];

/// The sandbox has no calendar.
const CREATED: &str = "2024-02-29T09:30:00.000Z";

impl Backlog {
    /// The backlog of the start. All of it is the user's.
    pub(super) fn seeded(shape: Shape<'_>, user: &User) -> Backlog {
        let mut backlog = Backlog::default();
        let owner = json!(tenant::owner(shape, user));
        for (known, count) in TYPES.iter().zip([25, 4, 3]) {
            let states = known.state().map(|state| (state.name, state.values)).unwrap_or_default();
            for (title, state) in TITLES.iter().cycle().zip(states.1.iter().cycle()).take(count) {
                let fields = [("Name", json!(title)), ("Owner", owner.clone()), (states.0, json!(state))];
                let fields = fields.map(|(name, value)| (name.to_owned(), value));
                backlog.add(shape, known, Object::from_iter(fields));
            }
        }
        backlog
    }

    /// Every artifact of one type, in the order of their numbers.
    pub(super) fn all(&self, known: &Type) -> impl Iterator<Item = &Object> {
        self.artifacts.iter().filter(|artifact| artifact.get("_type") == Some(&json!(known.name)))
    }

    /// Makes an artifact with these fields, and nothing in the others.
    pub(super) fn add(&mut self, shape: Shape<'_>, known: &'static Type, fields: Object) -> Object {
        let made = self.made.entry(known.name).or_default();
        *made += 1;
        let mut artifact = shape.object(known.name, known.first_id + *made, "");
        for attribute in known.attributes() {
            artifact.entry(attribute.name).or_insert(Value::Null);
        }
        artifact.insert("FormattedID".into(), json!(format!("{}{made}", known.prefix)));
        artifact.insert("CreationDate".into(), json!(CREATED));
        artifact.insert("Workspace".into(), json!(tenant::workspace(shape)));
        artifact.insert("Project".into(), json!(tenant::default_project(shape)));
        put(&mut artifact, fields);
        self.artifacts.push(artifact.clone());
        artifact
    }

    /// Puts these fields over the ones an artifact has. None: there is no such artifact.
    pub(super) fn change(&mut self, known: &Type, id: i64, fields: Object) -> Option<Object> {
        let artifact = self.artifacts.iter_mut().find(|artifact| is(artifact, known, id))?;
        put(artifact, fields);
        Some(artifact.clone())
    }

    /// Says whether there was such an artifact.
    pub(super) fn remove(&mut self, known: &Type, id: i64) -> bool {
        let before = self.artifacts.len();
        self.artifacts.retain(|artifact| !is(artifact, known, id));
        self.artifacts.len() < before
    }
}

fn is(artifact: &Object, known: &Type, id: i64) -> bool {
    artifact.get("_type") == Some(&json!(known.name)) && artifact.get("ObjectID") == Some(&json!(id))
}

fn put(artifact: &mut Object, fields: Object) {
    artifact.extend(fields);
    if let Some(name) = artifact.get("Name").cloned() {
        artifact.insert("_refObjectName".into(), name);
    }
}
