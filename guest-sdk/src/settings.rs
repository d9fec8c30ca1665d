//! Reading a policy's settings, with the path of whatever is wrong.
//!
//! Settings arrive as one JSON value. This module must never accept what it does not understand: a misspelt
//! field that is silently ignored is found during the failover it was meant for.

use serde::de::DeserializeOwned;

/// What is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// Where, e.g. `zones[1]`. Empty when it is about the whole.
    pub path: String,
    /// What was expected and what was found.
    pub message: String,
}

impl SettingsError {
    /// An error at a path, for a policy's own checks.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// For policies that have nothing to set. Only an empty object is accepted.
///
/// It is read without a JSON parser, which would be two thirds of a small policy's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoSettings;

/// Reads [`NoSettings`].
///
/// # Errors
/// Anything but an empty object.
pub fn none(json: &str) -> Result<NoSettings, SettingsError> {
    let mut rest = json.trim().chars().filter(|character| !character.is_ascii_whitespace());
    if (rest.next(), rest.next(), rest.next()) == (Some('{'), Some('}'), None) {
        return Ok(NoSettings);
    }
    Err(SettingsError::at("", "this policy has no settings: remove them"))
}

/// Reads settings of any deserializable type.
///
/// # Errors
/// The first field that does not fit, with its path.
pub fn read<T: DeserializeOwned>(json: &str) -> Result<T, SettingsError> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let settings = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let path = match error.path().to_string() {
            whole if whole == "." => String::new(),
            path => path,
        };
        SettingsError { path, message: without_position(error.inner()) }
    })?;
    parser.end().map_err(|error| SettingsError::at("", error.to_string()))?;
    Ok(settings)
}

/// A position in JSON nobody wrote (it was YAML) helps nobody; the path does.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[allow(dead_code, reason = "only its type matters here")]
        zones: Vec<String>,
    }

    #[test]
    fn the_path_of_a_wrong_field_is_told() {
        let error = read::<Settings>(r#"{"zones": ["a", 7]}"#).unwrap_err();
        assert_eq!(error.path, "zones[1]");
        assert_eq!(error.message, "invalid type: integer `7`, expected a string");
    }

    #[test]
    fn a_misspelt_field_is_an_error() {
        let error = read::<Settings>(r#"{"zone": ["a"]}"#).unwrap_err();
        assert_eq!(error.path, "zone");
        assert_eq!(error.message, "unknown field `zone`, expected `zones`");
    }

    #[test]
    fn a_missing_field_and_trailing_text_are_errors() {
        assert_eq!(read::<Settings>("{}").unwrap_err().message, "missing field `zones`");
        assert!(read::<Settings>(r#"{"zones": []} x"#).is_err());
    }

    #[test]
    fn no_settings_means_an_empty_object_only() {
        assert_eq!(none(" { } \n"), Ok(NoSettings));
        for wrong in ["", "{", "null", "[]", r#"{"a":1}"#, "{}{}"] {
            assert!(none(wrong).is_err(), "{wrong} was accepted");
        }
    }
}
