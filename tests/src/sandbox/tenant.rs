//! The made-up company whose Rally this is: a subscription, one workspace, two projects, and the user with a profile.
//! Does not: change; every call makes the same objects.
//! Used by: `catalogue` and `backlog`. pyral reads all of them at its start.

use serde_json::json;

use super::options::User;
use super::shape::{Object, Shape};

const SUBSCRIPTION: (i64, &str) = (40_000_001, "Example Company");
const PROFILE: (i64, &str) = (41_000_001, "Profile");
const WORKSPACE: (i64, &str) = (42_000_001, "Example Workspace");
const PROJECTS: [(i64, &str); 2] = [(43_000_001, "Example Project"), (43_000_002, "Second Project")];

pub(super) fn subscription(shape: Shape<'_>) -> Object {
    let (id, name) = SUBSCRIPTION;
    let mut object = shape.object("Subscription", id, name);
    object.insert(
        "Workspaces".into(),
        shape.collection(("Subscription", id), "Workspaces", "Workspace", workspaces(shape).len()),
    );
    object
}

pub(super) fn workspaces(shape: Shape<'_>) -> Vec<Object> {
    let (id, name) = WORKSPACE;
    let mut object = shape.object("Workspace", id, name);
    object.insert("State".into(), json!("Open"));
    object.insert(
        "Projects".into(),
        shape.collection(("Workspace", id), "Projects", "Project", PROJECTS.len()),
    );
    vec![object]
}

pub(super) fn projects(shape: Shape<'_>) -> Vec<Object> {
    let project = |(id, name): (i64, &str)| {
        let mut object = shape.object("Project", id, name);
        object.insert("State".into(), json!("Open"));
        object.insert("Workspace".into(), json!(workspace(shape)));
        object
    };
    PROJECTS.into_iter().map(project).collect()
}

/// The user behind every token. The attribute `Name` is not among a user's.
pub(super) fn user(shape: Shape<'_>, user: &User) -> Object {
    let mut object = shape.object("User", user.object_id as i64, &user.display_name);
    object.remove("Name");
    object.insert("UserName".into(), json!(user.user_name));
    object.insert("DisplayName".into(), json!(user.display_name));
    object.insert("EmailAddress".into(), json!(user.email_address));
    object.insert("Disabled".into(), json!(false));
    object.insert("UserProfile".into(), json!(shape.reference("UserProfile", PROFILE.0, PROFILE.1)));
    object
}

/// A reference to the user.
pub(super) fn owner(shape: Shape<'_>, user: &User) -> Object {
    shape.reference("User", user.object_id as i64, &user.display_name)
}

/// The user's settings: where they work if they do not say.
pub(super) fn profile(shape: Shape<'_>) -> Object {
    let mut object = shape.object("UserProfile", PROFILE.0, PROFILE.1);
    object.insert("DefaultWorkspace".into(), json!(workspace(shape)));
    object.insert("DefaultProject".into(), json!(default_project(shape)));
    object
}

/// A reference to the one workspace.
pub(super) fn workspace(shape: Shape<'_>) -> Object {
    shape.reference("Workspace", WORKSPACE.0, WORKSPACE.1)
}

/// A reference to the project that artifacts belong to unless something else is said.
pub(super) fn default_project(shape: Shape<'_>) -> Object {
    let [(id, name), _] = PROJECTS;
    shape.reference("Project", id, name)
}
