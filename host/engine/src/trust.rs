//! What a module has to be before anything of it is compiled: the one that was named, signed by somebody who is trusted.

use crate::error::LoadError;
use crate::signature::PublicKey;

/// What whoever names a module asks of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// What it is to decide. A signature for another decision is none.
    pub decision: String,
    /// The digest that was pinned.
    pub digest: Option<String>,
    /// The signature that came with it, in base64.
    pub signature: Option<String>,
    /// The keys of those who are trusted.
    pub keys: Vec<PublicKey>,
    /// Who asks for a signature, for people, if anybody does.
    pub required_by: Option<String>,
}

/// A module that is what was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vouched {
    /// The identifier of the key that signed it, if any did.
    pub by: Option<String>,
}

impl Demand {
    /// Looks at a module by the digest of its unpacked bytes. A signature that was given has to be good even where none is
    /// asked for: one that nobody can verify would only look like safety.
    ///
    /// # Errors
    /// It is another module, or not signed as it has to be.
    pub fn check(&self, digest: &str) -> Result<Vouched, LoadError> {
        if let Some(expected) = self.digest.as_ref().filter(|expected| *expected != digest) {
            return Err(LoadError::OtherDigest { expected: expected.clone(), found: digest.to_owned() });
        }
        let Some(signature) = &self.signature else {
            return match &self.required_by {
                None => Ok(Vouched::default()),
                Some(by) => Err(LoadError::Unsigned { by: by.clone(), tried: self.tried() }),
            };
        };
        let signer = self.keys.iter().find(|key| key.verifies(&self.decision, digest, signature));
        let signer = signer.ok_or_else(|| LoadError::WrongSignature {
            decision: self.decision.clone(),
            digest: digest.to_owned(),
            tried: self.tried(),
        })?;
        Ok(Vouched { by: Some(signer.id()) })
    }

    /// The keys, for people.
    fn tried(&self) -> String {
        if self.keys.is_empty() {
            return "none, the operator was given no public key (--policy-key)".to_owned();
        }
        self.keys.iter().map(PublicKey::id).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SecretKey;

    const DIGEST: &str = "sha256:01";

    fn demand(key: &SecretKey) -> Demand {
        let (decision, signature) = ("scaling".to_owned(), Some(key.sign("scaling", DIGEST)));
        Demand { decision, signature, keys: vec![key.public()], ..Demand::default() }
    }

    #[test]
    fn what_is_asked_for_has_to_be_so() {
        let (key, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let good = demand(&key);
        assert_eq!(good.check(DIGEST).unwrap().by, Some(key.public().id()));
        assert_eq!(Demand::default().check(DIGEST), Ok(Vouched::default()), "nothing is asked");

        let pinned = Demand { digest: Some("sha256:02".to_owned()), ..good.clone() };
        let told = pinned.check(DIGEST).unwrap_err().to_string();
        assert!(told.contains("sha256:02") && told.contains("sha256:01"), "{told}");

        let stranger = Demand { keys: vec![other.public()], ..good.clone() };
        let told = stranger.check(DIGEST).unwrap_err().to_string();
        assert!(told.contains(&other.public().id()) && told.contains("grampus policy sign"), "{told}");

        let nobody = Demand { keys: Vec::new(), ..good.clone() };
        let told = nobody.check(DIGEST).unwrap_err().to_string();
        assert!(told.contains("--policy-key"), "a signature that nobody verifies is none: {told}");

        let elsewhere = Demand { decision: "primary-selection".to_owned(), ..good.clone() };
        assert!(matches!(elsewhere.check(DIGEST), Err(LoadError::WrongSignature { .. })), "another decision");

        let required_by = Some("the namespace's label".to_owned());
        let unsigned = Demand { signature: None, required_by, ..good };
        let told = unsigned.check(DIGEST).unwrap_err().to_string();
        assert!(told.contains("the namespace's label") && told.contains(&key.public().id()), "{told}");
    }
}
