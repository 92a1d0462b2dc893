//! Which objects there are: all of a type, one by its number, the members of a collection.
//! Does not: change any, or speak HTTP.
//! Used by: `reading` and `writing`.

use serde_json::json;

use super::backlog::Backlog;
use super::options::User;
use super::schema::{self, Type};
use super::shape::{Object, Shape, target};
use super::tenant;

/// Everything that WSAPI shows, at one moment.
pub(super) struct Catalogue<'a> {
    pub(super) shape: Shape<'a>,
    pub(super) user: &'a User,
    pub(super) backlog: &'a Backlog,
}

impl Catalogue<'_> {
    /// Every object of a type, whose name may be in any case, with the name as it is written. None: no such type.
    pub(super) fn all(&self, type_name: &str) -> Option<(&'static str, Vec<Object>)> {
        if let Some(known) = Type::named(type_name) {
            return Some((known.name, self.backlog.all(known).cloned().collect()));
        }
        let shape = self.shape;
        Some(match type_name.to_ascii_lowercase().as_str() {
            "subscription" => ("Subscription", vec![tenant::subscription(shape)]),
            "workspace" => ("Workspace", tenant::workspaces(shape)),
            "project" => ("Project", tenant::projects(shape)),
            "user" => ("User", vec![tenant::user(shape, self.user)]),
            "userprofile" => ("UserProfile", vec![tenant::profile(shape)]),
            "typedefinition" => ("TypeDefinition", schema::definitions(shape)),
            _ => return None,
        })
    }

    /// One object; none: no such type, or no such number.
    pub(super) fn find(&self, type_name: &str, id: i64) -> Option<(&'static str, Object)> {
        let (type_name, all) = self.all(type_name)?;
        let found = all.into_iter().find(|object| object.get("ObjectID") == Some(&json!(id)))?;
        Some((type_name, found))
    }

    /// What other objects have of the one with this reference.
    pub(super) fn reference(&self, reference: &str) -> Option<Object> {
        let (type_name, id) = target(reference)?;
        let (_, mut object) = self.find(type_name, id)?;
        object.retain(|name, _| name.starts_with('_'));
        Some(object)
    }

    /// The members of an object's collection. None: no such object, or it has no such collection.
    pub(super) fn members(
        &self,
        type_name: &str,
        id: i64,
        attribute: &str,
    ) -> Option<(&'static str, Vec<Object>)> {
        let shape = self.shape;
        let path = format!("{type_name}/{attribute}").to_ascii_lowercase();
        if path == "attributedefinition/allowedvalues" {
            return Some(("AllowedAttributeValue", schema::allowed_values(shape, id)?));
        }
        let (_, owner) = self.find(type_name, id)?;
        Some(match path.as_str() {
            "subscription/workspaces" => ("Workspace", tenant::workspaces(shape)),
            "workspace/projects" => ("Project", tenant::projects(shape)),
            "typedefinition/attributes" => {
                let known = Type::named(owner.get("ElementName")?.as_str()?)?;
                ("AttributeDefinition", schema::attributes(shape, known))
            }
            _ => return None,
        })
    }
}
