//! The types of artifacts and their attributes, as one table and as WSAPI's type definitions.
//! Does not: hold artifacts.
//! Used by: `backlog` (which attributes may be written, and with what), `catalogue` and pyral, which reads all of it at its start.

use serde_json::{Value, json};

use super::shape::{Object, Shape, versioned};

/// A type of artifact.
pub(super) struct Type {
    pub(super) name: &'static str,
    display_name: &'static str,
    /// What `FormattedID` begins with.
    pub(super) prefix: &'static str,
    /// Its objects are numbered from here.
    pub(super) first_id: i64,
    own: &'static [Attribute],
}

/// An attribute, in Rally's own words for its type.
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) attribute_type: &'static str,
    pub(super) rule: Rule,
    /// The values it may have; none: any.
    pub(super) values: &'static [&'static str],
}

/// Who may set an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Optional,
    Required,
    ReadOnly,
}

pub(super) const TYPES: &[Type] = &[
    Type {
        name: "HierarchicalRequirement",
        display_name: "User Story",
        prefix: "US",
        first_id: 52_000_000,
        own: &[
            state("ScheduleState", &["Defined", "In-Progress", "Completed", "Accepted"]),
            optional("PlanEstimate", "QUANTITY"),
        ],
    },
    Type {
        name: "Defect",
        display_name: "Defect",
        prefix: "DE",
        first_id: 53_000_000,
        own: &[
            state("State", &["Submitted", "Open", "Fixed", "Closed"]),
            Attribute {
                name: "Severity",
                attribute_type: "RATING",
                rule: Rule::Optional,
                values: &["None", "Crash/Data Loss", "Major Problem", "Cosmetic"],
            },
        ],
    },
    Type {
        name: "Task",
        display_name: "Task",
        prefix: "TA",
        first_id: 54_000_000,
        own: &[
            state("State", &["Defined", "In-Progress", "Completed"]),
            optional("WorkProduct", "OBJECT"),
            optional("Estimate", "QUANTITY"),
        ],
    },
];

const COMMON: &[Attribute] = &[
    read_only("ObjectID", "INTEGER"),
    read_only("FormattedID", "STRING"),
    read_only("CreationDate", "DATE"),
    read_only("Workspace", "OBJECT"),
    Attribute { name: "Name", attribute_type: "STRING", rule: Rule::Required, values: &[] },
    optional("Description", "TEXT"),
    optional("Owner", "OBJECT"),
    optional("Project", "OBJECT"),
];

const fn optional(name: &'static str, attribute_type: &'static str) -> Attribute {
    Attribute { name, attribute_type, rule: Rule::Optional, values: &[] }
}

const fn read_only(name: &'static str, attribute_type: &'static str) -> Attribute {
    Attribute { name, attribute_type, rule: Rule::ReadOnly, values: &[] }
}

const fn state(name: &'static str, values: &'static [&'static str]) -> Attribute {
    Attribute { name, attribute_type: "STATE", rule: Rule::Optional, values }
}

impl Type {
    /// The type that a path or a body names; case does not matter.
    pub(super) fn named(name: &str) -> Option<&'static Type> {
        TYPES.iter().find(|known| known.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn attributes(&self) -> impl Iterator<Item = &'static Attribute> + use<> {
        COMMON.iter().chain(self.own)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes().find(|attribute| attribute.name == name)
    }

    /// The attribute that says how far an artifact is.
    pub(super) fn state(&self) -> Option<&'static Attribute> {
        self.attributes().find(|attribute| attribute.attribute_type == "STATE")
    }
}

/// Every type as a `TypeDefinition`. Its attributes are a collection, as WSAPI has them; the schema service has them
/// written out ([`with_attributes`]).
pub(super) fn definitions(shape: Shape<'_>) -> Vec<Object> {
    let definition = |known: &Type| {
        let id = known.first_id;
        let mut object = shape.object("TypeDefinition", id, known.display_name);
        let attributes = shape.collection(
            ("TypeDefinition", id),
            "Attributes",
            "AttributeDefinition",
            known.attributes().count(),
        );
        fill(
            &mut object,
            json!({
                "ElementName": known.name,
                "DisplayName": known.display_name,
                "TypePath": known.name,
                "IDPrefix": known.prefix,
                "Abstract": false,
                "Parent": null,
                "Creatable": true,
                "Queryable": true,
                "ReadOnly": false,
                "Deletable": true,
                "Restorable": true,
                "Ordinal": -1,
                "RevisionHistory": null,
                "Attributes": attributes,
            }),
        );
        object
    };
    TYPES.iter().map(definition).collect()
}

/// The type definitions as the schema service answers: with their attributes inside.
pub(super) fn with_attributes(shape: Shape<'_>) -> Vec<Object> {
    let mut definitions = definitions(shape);
    for (definition, known) in definitions.iter_mut().zip(TYPES) {
        definition.insert("Attributes".into(), json!(attributes(shape, known)));
    }
    definitions
}

/// The attributes of a type as `AttributeDefinition`s.
pub(super) fn attributes(shape: Shape<'_>, known: &Type) -> Vec<Object> {
    let numbered = (1..).zip(known.attributes());
    numbered.map(|(number, attribute)| definition(shape, known, number, attribute)).collect()
}

/// The values that the attribute with this number may have, as `AllowedAttributeValue`s.
pub(super) fn allowed_values(shape: Shape<'_>, attribute_id: i64) -> Option<Vec<Object>> {
    let numbered =
        TYPES.iter().flat_map(|known| (1..).zip(known.attributes()).map(move |pair| (known, pair)));
    let mut found = numbered.filter(|(known, (number, _))| definition_id(known, *number) == attribute_id);
    let (_, (_, attribute)) = found.next()?;
    let value = |(index, text): (i64, &&str)| {
        let mut object = shape.reference("AllowedAttributeValue", attribute_id * 100 - index, text);
        object.insert("StringValue".into(), json!(text));
        object.insert("ValueIndex".into(), json!(index));
        object
    };
    Some((0..).zip(attribute.values).map(value).collect())
}

/// Rally numbers the definitions of its own attributes below zero.
fn definition_id(known: &Type, number: i64) -> i64 {
    -known.first_id / 1000 - number
}

fn definition(shape: Shape<'_>, known: &Type, number: i64, attribute: &Attribute) -> Object {
    let id = definition_id(known, number);
    let mut object = shape.object("AttributeDefinition", id, attribute.name);
    let values = if attribute.values.is_empty() {
        json!([])
    } else {
        let owner = ("AttributeDefinition", id);
        shape.collection(owner, "AllowedValues", "AllowedAttributeValue", attribute.values.len())
    };
    fill(
        &mut object,
        json!({
            "ElementName": attribute.name,
            "AttributeType": attribute.attribute_type,
            "Custom": false,
            "Required": attribute.rule == Rule::Required,
            "ReadOnly": attribute.rule == Rule::ReadOnly,
            "Filterable": true,
            "Hidden": false,
            "SchemaType": attribute.attribute_type,
            "Constrained": !attribute.values.is_empty(),
            "AllowedValueType": if attribute.values.is_empty() { Value::Null } else { Value::Object(versioned()) },
            "AllowedValues": values,
            "MaxLength": 255,
            "MaxFractionalDigits": -1,
        }),
    );
    object
}

fn fill(object: &mut Object, fields: Value) {
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
}
