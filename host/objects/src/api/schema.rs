//! The shapes that the derived schema cannot express.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Free JSON, an object at the top: a policy module checks its own settings.
pub(super) fn free_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// mysqld options. Integers are allowed beside strings, because `max_connections: 500` is what people write.
pub(super) fn options(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 256,
        "additionalProperties": {
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "x-kubernetes-int-or-string": true,
        },
    })
}
