//! What something encrypted is opened with. Pure.
//!
//! It must never let a secret key into a message or a log, not even a line that is none: it may be one with a slip.

use std::fmt;

use crate::encryption::{Encryption, SECRET, lines};
use crate::error::Error;

/// Secret keys of age. More than one, so that keys can be changed and what was written before stays readable.
#[derive(Clone, Default)]
pub struct Identities(Vec<age::x25519::Identity>);

impl Identities {
    /// Reads one key a line, as `age-keygen` writes them: empty lines, and those that begin with `#`, are passed over.
    /// There may be none.
    ///
    /// # Errors
    /// The number of the line that is no secret key, and never what stands there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = |(number, line): (usize, &str)| {
            let wrong = |_| format!("line {number} is no secret key of age; write it as `age-keygen` does, {SECRET}1…");
            line.parse().map_err(wrong)
        };
        lines(text).map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn open(&self, encryption: &Encryption) -> bool {
        self.0.iter().any(|identity| encryption.recipients.contains(&identity.to_public().to_string()))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|key| key as &dyn age::Identity)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} identities", self.0.len())
    }
}

/// What there is to open with, and where it came from.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// The Secret that they are in, if one was named.
    pub secret: Option<String>,
    /// What is in it.
    pub identities: Identities,
}

impl Keys {
    /// Whether what says this of itself can be opened. What is not encrypted always can.
    ///
    /// # Errors
    /// [`Error::Locked`]: for whom it is, and what was tried.
    pub fn open(&self, object: &str, encryption: Option<&Encryption>) -> Result<(), Error> {
        let Some(encryption) = encryption.filter(|encryption| !self.identities.open(encryption)) else { return Ok(()) };
        let locked = |problem: String| {
            let (object, recipients) = (object.to_owned(), encryption.recipients.join(" and "));
            Err(Error::Locked { object, recipients, problem })
        };
        match &self.secret {
            None => locked(
                "no key was given; name the Secret that has the secret half of one of these in \
                 spec.bootstrap.recovery.encryption.keysSecret"
                    .to_owned(),
            ),
            Some(secret) if self.identities.0.is_empty() => locked(format!(
                "Secret {secret} has no secret key; add the secret half of one of these under its key `identities`"
            )),
            Some(secret) => locked(format!(
                "none of the identities in Secret {secret} opens it; add the secret half of one of these under its key \
                 `identities`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;
    use crate::encryption::Recipients;

    /// A public key, and its secret half.
    fn pair() -> (String, String) {
        let identity = age::x25519::Identity::generate();
        (identity.to_public().to_string(), identity.to_string().expose_secret().to_owned())
    }

    #[test]
    fn keys_are_read_as_the_tools_write_them() {
        let (public, secret) = pair();
        let file = format!("# created: 2026-11-27T21:00:00Z\n# public key: {public}\n{secret}\n\n");
        let identities = Identities::parse(&file).unwrap();
        let recipients = Recipients::parse(&format!(" # ours\n  {public}  \n")).unwrap();
        assert_eq!(recipients.texts(), [public]);
        assert!(identities.open(&recipients.encryption()));
        assert!(Identities::parse("# none yet").unwrap().0.is_empty());
    }

    #[test]
    fn no_word_of_a_secret_is_repeated() {
        let (public, secret) = pair();
        // Shortened by a slip, and so no key any more.
        let slip = &secret[..secret.len() - 1];
        let told = [
            Identities::parse(&format!("\n{slip}")).unwrap_err(),
            Recipients::parse(&format!("{public}\n{secret}")).unwrap_err(),
            Recipients::parse(&format!("#\n{}", secret.to_lowercase())).unwrap_err(),
            format!("{:?}", Keys { secret: None, identities: Identities::parse(&secret).unwrap() }),
        ];
        let within = &secret[SECRET.len() + 2..SECRET.len() + 10];
        for said in &told {
            assert!(!said.to_uppercase().contains(within), "{said}");
        }
        assert!(told[0].contains("line 2") && told[1].contains("line 2 is a secret key") && told[2].contains("line 2"));
        assert!(Recipients::parse("# nobody").unwrap_err().contains("no line"));
    }

    #[test]
    fn what_was_tried_is_told_and_for_whom_it_is() {
        let ((_, ours), (other, _)) = (pair(), pair());
        let for_other = Recipients::parse(&other).unwrap().encryption();
        let ours = Identities::parse(&ours).unwrap();
        let refused = |secret: Option<&str>, identities: &Identities| {
            let keys = Keys { secret: secret.map(str::to_owned), identities: identities.clone() };
            assert!(keys.open("shop/full/1", None).is_ok(), "what is not encrypted needs no key and minds none");
            keys.open("shop/full/1", Some(&for_other)).unwrap_err().to_string()
        };
        for (secret, identities, word) in [
            (None, &Identities::default(), "keysSecret"),
            (Some("keys"), &Identities::default(), "Secret keys has no secret key"),
            (Some("keys"), &ours, "none of the identities in Secret keys opens it"),
        ] {
            let said = refused(secret, identities);
            assert!(said.contains(word) && said.contains(&other) && said.contains("shop/full/1"), "{said}");
        }
    }
}
