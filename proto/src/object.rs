//! JSON objects, and nothing in their place: a derived reader would take the items of a list for a struct's fields.
//! Does not: look at the fields.
//! Used by: whatever reads JSON that others wrote.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A `T` that was written as an object.
///
/// ```
/// use rally_cred_proto::object::Object;
/// #[derive(serde::Deserialize)]
/// struct Point { x: u8 }
/// let Object(Point { x }) = serde_json::from_str(r#"{"x":1}"#)?;
/// assert_eq!(x, 1);
/// assert!(serde_json::from_str::<Point>("[1]").is_ok());
/// assert!(serde_json::from_str::<Object<Point>>("[1]").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}
