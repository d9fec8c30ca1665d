//! For whom something in a store is encrypted: what manifests and entries say of it, and the public keys.
//!
//! What is encrypted is an age file (age-encryption.org/v1), one for all parts of a backup together and one for each
//! segment. The layer lies between zstd and the store: sizes and checksums are of the stored bytes, so that whoever has
//! no key can still tell whether they are whole. Pure.

use serde::{Deserialize, Serialize};

/// The format of a manifest, or an entry, of what is encrypted, and the highest that this release reads. Whoever reads
/// only those before it knows of no keys, and must not take it for something that can be read.
pub const FORMAT: u32 = 2;

/// How something is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Encryption {
    /// In which way.
    pub method: Method,
    /// The public keys, as in `age1…`: whoever has the secret half of one of them can open it.
    pub recipients: Vec<String>,
}

/// A way of encrypting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// age, with keys of X25519.
    Age,
}

/// The format of a manifest or entry that says this.
pub const fn format(plain: u32, encryption: Option<&Encryption>) -> u32 {
    match encryption {
        Some(_) => FORMAT,
        None => plain,
    }
}

/// Public keys of age, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients(Vec<age::x25519::Recipient>);

impl Recipients {
    /// Reads one key a line, as `age --recipients-file` does: empty lines, and those that begin with `#`, are passed over.
    ///
    /// # Errors
    /// The number of the line that is no public key. What stands there is not repeated: it may be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = |(number, line): (usize, &str)| {
            line.parse().map_err(|_| {
                if line.to_ascii_uppercase().starts_with(SECRET) {
                    return format!(
                        "line {number} is a secret key, and only public ones, age1…, belong here; put the line that \
                         `age-keygen -y` makes of it in its place"
                    );
                }
                format!("line {number} is no public key of age; write it as `age-keygen` prints it, age1…")
            })
        };
        let keys = lines(text).map(read).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err("it has no line; write a public key of age, age1…, into each".to_owned());
        }
        Ok(Self(keys))
    }

    /// The keys as text.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// What a manifest or an entry says of it.
    pub fn encryption(&self) -> Encryption {
        Encryption { method: Method::Age, recipients: self.texts() }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.0.iter().map(|key| key as &dyn age::Recipient)
    }
}

/// What a secret key begins with.
pub(crate) const SECRET: &str = "AGE-SECRET-KEY-";

/// The lines that say something, with their numbers from 1.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(before, line)| (before + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}
