//! The shape of WSAPI objects: what each carries, how one names another, and what `fetch` leaves of it.
//! Does not: know which objects there are.
//! Used by: everything of the sandbox that makes, reads or writes objects.

use serde_json::{Map, Value, json};

/// A WSAPI object without the type's name around it.
pub(super) type Object = Map<String, Value>;

/// Makes objects whose references name the server that was asked, as Rally's do: clients follow them without a look.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    /// Without a slash at the end.
    pub(super) base_url: &'a str,
}

impl Shape<'_> {
    /// What every object carries, whatever was fetched, and all that one object has of another.
    pub(super) fn reference(self, type_name: &str, id: i64, name: &str) -> Object {
        let mut object = versioned();
        object.insert("_ref".into(), json!(self.address(type_name, id)));
        object.insert("_refObjectName".into(), json!(name));
        object.insert("_type".into(), json!(type_name));
        object
    }

    /// The same with the attributes that every object has.
    pub(super) fn object(self, type_name: &str, id: i64, name: &str) -> Object {
        let mut object = self.reference(type_name, id, name);
        object.insert("ObjectID".into(), json!(id));
        object.insert("Name".into(), json!(name));
        object
    }

    /// A collection as an attribute: where its members are, and how many.
    pub(super) fn collection(
        self,
        owner: (&str, i64),
        attribute: &str,
        type_name: &str,
        count: usize,
    ) -> Value {
        let mut collection = versioned();
        collection.insert("_ref".into(), json!(format!("{}/{attribute}", self.address(owner.0, owner.1))));
        collection.insert("_type".into(), json!(type_name));
        collection.insert("Count".into(), json!(count));
        Value::Object(collection)
    }

    fn address(self, type_name: &str, id: i64) -> String {
        format!("{}/slm/webservice/v2.0/{}/{id}", self.base_url, type_name.to_ascii_lowercase())
    }
}

/// The version that stands in objects and in results.
pub(super) fn versioned() -> Object {
    let mut object = Map::new();
    object.insert("_rallyAPIMajor".into(), json!("2"));
    object.insert("_rallyAPIMinor".into(), json!("0"));
    object
}

/// The part of an object that `fetch` names: the fields in a comma-separated list (pyral puts it in quotes), all for
/// `true`, and for anything else only what every object carries.
pub(super) fn fetched(mut object: Object, fetch: &str) -> Object {
    if !fetch.eq_ignore_ascii_case("true") {
        let wanted: Vec<&str> = fetch.trim_matches('"').split(',').map(str::trim).collect();
        object.retain(|name, _| name.starts_with('_') || wanted.contains(&name.as_str()));
    }
    object
}

/// The type and the number at the end of a reference, which may be an address, `/defect/1` or `defect/1`.
pub(super) fn target(reference: &str) -> Option<(&str, i64)> {
    let (rest, id) = reference.rsplit_once('/')?;
    let type_name = rest.rsplit('/').next()?;
    Some((type_name, id.parse().ok()?))
}
