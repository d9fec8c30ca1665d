//! Settings held against the schema that a module declares.
//!
//! A module checks its settings itself, and what it says comes first; but one that declares a schema need not
//! check again what that says. Only these keywords of JSON Schema are looked at: `type`, `enum`, `const`,
//! `required`, `properties`, `additionalProperties`, `items`, `minItems`, `maxItems`, `uniqueItems`, `minLength`,
//! `maxLength`, `minimum` and `maximum`. Others must be ignored, never guessed at: settings are refused only for
//! what is certainly wrong.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::call::deceives;

/// Values of the longest `enum` that is looked at: each may be compared with each of the settings' values, of which
/// there are some thirty thousand at most.
const ENUM_VALUES: usize = 1_000;

/// A path in settings, and what is wrong there.
pub type Wrong = (String, String);

/// Reads a schema of at most so many bytes: as values in memory it is some twenty times as large.
///
/// # Errors
/// Why it is none.
pub fn read(text: &str, limit: usize) -> Result<Value, String> {
    if text.len() > limit {
        return Err(format!("it has {} bytes, at most {limit} are allowed", text.len()));
    }
    // It is shown as it was written. Lines may end as they do elsewhere.
    let shown = text.replace("\r\n", "\n");
    if let Some(hidden) = shown.chars().find(|character| deceives(*character) && !matches!(character, '\n' | '\t')) {
        return Err(format!("it contains U+{:04X}, which is not shown as itself; escape it", u32::from(hidden)));
    }
    match serde_json::from_str(text) {
        Ok(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(schema),
        Ok(other) => Err(format!("it is {}, expected an object", kind(&other))),
        Err(error) => Err(format!("it is no JSON: {error}")),
    }
}

/// Finds the first thing in a value that its schema does not allow.
pub fn check(schema: &Value, value: &Value) -> Result<(), Wrong> {
    at(schema, value, "")
}

fn at(schema: &Value, value: &Value, path: &str) -> Result<(), Wrong> {
    let wrong = |message: String| Err((path.to_owned(), message));
    let schema = match schema {
        Value::Object(schema) => schema,
        Value::Bool(false) => return wrong("nothing is allowed here".to_owned()),
        _ => return Ok(()),
    };
    if let Some(wanted) = schema.get("type").filter(|wanted| !is_of(value, wanted)) {
        return wrong(format!("expected {}, found {}", named(wanted), kind(value)));
    }
    if let Some(Value::Array(allowed)) = schema.get("enum").filter(|allowed| !contains(allowed, value)) {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return wrong(format!("expected one of {}, found {value}", allowed.join(", ")));
    }
    if let Some(only) = schema.get("const").filter(|only| *only != value) {
        return wrong(format!("expected {only}, found {value}"));
    }
    match value {
        Value::Object(fields) => object(schema, fields, path),
        Value::Array(items) => array(schema, items, path),
        Value::String(text) => {
            let length = text.chars().count() as f64;
            bounds(schema, ["minLength", "maxLength"], length, " characters").or_else(wrong)
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            bounds(schema, ["minimum", "maximum"], number, "").or_else(wrong)
        }
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn object(schema: &Map<String, Value>, fields: &Map<String, Value>, path: &str) -> Result<(), Wrong> {
    let known = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    if let Some(name) = required.filter_map(Value::as_str).find(|name| !fields.contains_key(*name)) {
        return Err((path.to_owned(), format!("the field `{name}` is missing")));
    }
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        // Patterns could allow what `additionalProperties` seems to forbid.
        let others = schema.get("additionalProperties").filter(|_| !schema.contains_key("patternProperties"));
        match (known.and_then(|known| known.get(name)), others) {
            (Some(schema), _) => at(schema, value, &path)?,
            (None, Some(Value::Bool(false))) => {
                let names: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                return Err((path, format!("there is no such field; known are: {}", names.join(", "))));
            }
            (None, Some(schema)) => at(schema, value, &path)?,
            (None, None) => {}
        }
    }
    Ok(())
}

fn array(schema: &Map<String, Value>, items: &[Value], path: &str) -> Result<(), Wrong> {
    bounds(schema, ["minItems", "maxItems"], items.len() as f64, " entries").map_err(|why| (path.to_owned(), why))?;
    // With `prefixItems`, `items` is only about the rest.
    let each = schema.get("items").filter(|_| !schema.contains_key("prefixItems"));
    let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
    let mut seen = HashSet::new();
    for (number, item) in items.iter().enumerate() {
        let path = format!("{path}[{number}]");
        if let Some(schema) = each {
            at(schema, item, &path)?;
        }
        if unique && !seen.insert(item.to_string()) {
            return Err((path, format!("{item} is listed twice")));
        }
    }
    Ok(())
}

/// Compares a number with two keywords.
fn bounds(schema: &Map<String, Value>, [least, most]: [&str; 2], found: f64, unit: &str) -> Result<(), String> {
    let bound = |key: &str| schema.get(key).and_then(|bound| Some((bound.as_f64()?, bound)));
    let told = |word: &str, bound: &Value| format!("expected at {word} {bound}{unit}, found {found}");
    match (bound(least), bound(most)) {
        (Some((number, bound)), _) if found < number => Err(told("least", bound)),
        (_, Some((number, bound))) if found > number => Err(told("most", bound)),
        _ => Ok(()),
    }
}

fn contains(list: &Value, value: &Value) -> bool {
    list.as_array().is_none_or(|list| list.len() > ENUM_VALUES || list.contains(value))
}

/// Whether a value is of a type, or of one of several. A type that is not known is any.
fn is_of(value: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Array(several) => several.iter().any(|wanted| is_of(value, wanted)),
        Value::String(wanted) => match wanted.as_str() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
            _ => true,
        },
        _ => true,
    }
}

fn named(wanted: &Value) -> String {
    match wanted {
        Value::Array(several) => several.iter().map(named).collect::<Vec<_>>().join(" or "),
        Value::String(name) => name.clone(),
        other => other.to_string(),
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("the text {text:?}"),
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(schema: Value, value: Value) -> (String, String) {
        check(&schema, &value).unwrap_err()
    }

    #[test]
    fn what_is_wrong_is_told_with_its_path() {
        let schema = json!({"type": "object", "required": ["zones"], "additionalProperties": false, "properties": {
            "zones": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "string", "minLength": 1}},
            "rules": {"items": {"properties": {"weight": {"type": "integer", "minimum": 0, "maximum": 9}}}},
            "mode": {"enum": ["a", "b"]},
        }});
        for (value, path, message) in [
            (json!([]), "", "expected object, found a list"),
            (json!({}), "", "the field `zones` is missing"),
            (json!({"zones": []}), "zones", "expected at least 1 entries, found 0"),
            (json!({"zones": ["a", 7]}), "zones[1]", "expected string, found 7"),
            (json!({"zones": [""]}), "zones[0]", "expected at least 1 characters, found 0"),
            (json!({"zones": ["a", "a"]}), "zones[1]", "\"a\" is listed twice"),
            (json!({"zones": ["a"], "zone": 1}), "zone", "there is no such field; known are: zones, rules, mode"),
            (json!({"zones": ["a"], "mode": "c"}), "mode", "expected one of \"a\", \"b\", found \"c\""),
            (json!({"zones": ["a"], "rules": [{}, {"weight": 10}]}), "rules[1].weight", "expected at most 9, found 10"),
            (json!({"zones": ["a"], "rules": [{"weight": 1.5}]}), "rules[0].weight", "expected integer, found 1.5"),
        ] {
            assert_eq!(wrong(schema.clone(), value.clone()), (path.to_owned(), message.to_owned()), "{value}");
        }
        assert_eq!(check(&schema, &json!({"zones": ["a", "b"], "rules": [{"weight": 9}], "mode": "a"})), Ok(()));
    }

    #[test]
    fn what_is_not_understood_refuses_nothing() {
        for schema in [
            json!({}),
            json!(true),
            json!({"$ref": "#/$defs/x", "type": "matrix", "format": "email", "if": false}),
            json!({"patternProperties": {".": {}}, "additionalProperties": false}),
            json!({"type": ["object", "null"], "required": 7, "properties": [], "enum": "x"}),
            json!({"enum": (0..2_000).collect::<Vec<u32>>()}),
        ] {
            assert_eq!(check(&schema, &json!({"a": [1]})), Ok(()), "{schema}");
        }
        assert!(check(&json!(false), &json!({})).is_err());
    }

    #[test]
    fn a_schema_is_an_object() {
        assert!(read(r#"{"type": "object"}"#, 99).is_ok());
        assert_eq!(read("[]", 99).unwrap_err(), "it is a list, expected an object");
        assert!(read("{", 99).unwrap_err().starts_with("it is no JSON: "));
        assert_eq!(read("{\r\n\t}", 99).unwrap(), json!({}));
        for hidden in ["{\r}", "{\"a\u{9b}1m\": 1}", "{\"\u{202e}\": 1}"] {
            assert!(read(hidden, 99).unwrap_err().ends_with("is not shown as itself; escape it"), "{hidden:?}");
        }
        assert_eq!(read("{ }", 2).unwrap_err(), "it has 3 bytes, at most 2 are allowed");
    }
}
