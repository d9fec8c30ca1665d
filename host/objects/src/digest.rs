//! Short digests, by which a change is noticed. They protect nothing.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// How many bytes are kept: enough that two of one cluster are never the same by chance.
const BYTES: usize = 8;

/// The first bytes of the SHA-256 of a text, in hexadecimal.
pub(crate) fn of_text(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..BYTES])
}

/// The same of a value, whatever the order of its fields: that belongs to a library and may change with it.
pub(crate) fn of_value(value: &Value) -> String {
    of_text(&sorted(value).to_string())
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            fields.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_fields_is_no_difference_and_everything_else_is() {
        let digest = |text: &str| of_value(&serde_json::from_str(text).unwrap());
        assert_eq!(digest(r#"{"a": 1, "b": {"c": [1], "d": 2}}"#), digest(r#"{"b": {"d": 2, "c": [1]}, "a": 1}"#));
        for other in [r#"{"a": 2, "b": {"c": [1], "d": 2}}"#, r#"{"a": 1, "b": {"c": [1, 1], "d": 2}}"#, "{}"] {
            assert_ne!(digest(r#"{"a": 1, "b": {"c": [1], "d": 2}}"#), digest(other));
        }
    }
}
