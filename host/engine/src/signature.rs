//! Signatures of modules: who vouches for which module, and for which decision.
//!
//! Ed25519, as RFC 8032 has it, over a text that names the decision and the digest of the unpacked component. A signature
//! is worth nothing for another module or another decision, however either is packed or named. Keys are PEM files as
//! `openssl genpkey -algorithm ed25519` writes them. Nothing here may let a module pass that was not asked about.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest, Sha256};

/// What comes before the 32 bytes of a secret key in its PKCS #8 file (RFC 8410).
const SECRET_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What comes before the 32 bytes of a public key in its SubjectPublicKeyInfo (RFC 8410).
const PUBLIC_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Bytes of the digest of a key that tell it from others.
const ID_BYTES: usize = 8;

/// What is signed. Its first line names the format, so that no signature of anything else can be taken for one of these.
pub fn signed_message(decision: &str, digest: &str) -> String {
    format!("grampus policy module v1\ndecision: {decision}\ndigest: {digest}\n")
}

/// Why a file holds no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no block of the kind that is looked for.
    #[error("it holds no `-----BEGIN {0}-----`; make a pair with `grampus policy keygen`")]
    Missing(&'static str),
    /// The block is damaged or of another algorithm.
    #[error("its {0} is not of Ed25519, or damaged; make a pair with `grampus policy keygen`")]
    Unfit(&'static str),
    /// The system has no random numbers.
    #[error("the system gave no random numbers")]
    NoRandomness,
}

/// A key against which signatures are verified.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", self.id())
    }
}

impl PublicKey {
    /// Every public key of a PEM file.
    ///
    /// # Errors
    /// There is none, or one of them is of another algorithm.
    pub fn read_all(pem: &str) -> Result<Vec<Self>, KeyError> {
        const LABEL: &str = "PUBLIC KEY";
        let blocks = blocks(pem, LABEL);
        if blocks.is_empty() {
            return Err(KeyError::Missing(LABEL));
        }
        let key = |block: Option<Vec<u8>>| {
            let bytes = block?;
            bytes.strip_prefix(&PUBLIC_HEAD)?.try_into().ok().map(Self)
        };
        blocks.into_iter().map(|block| key(block).ok_or(KeyError::Unfit(LABEL))).collect()
    }

    /// The beginning of its SHA-256 in hexadecimal: what tells people which key it is.
    pub fn id(&self) -> String {
        hex::encode(&Sha256::digest(self.0)[..ID_BYTES])
    }

    /// The PEM file of this key.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[&PUBLIC_HEAD[..], &self.0].concat())
    }

    /// Whether this key made a signature for this module and decision. What is no base64 was made by nobody.
    pub fn verifies(&self, decision: &str, digest: &str, signature: &str) -> bool {
        let Ok(signature) = BASE64_STANDARD.decode(signature) else { return false };
        UnparsedPublicKey::new(&ED25519, self.0).verify(signed_message(decision, digest).as_bytes(), &signature).is_ok()
    }
}

/// A key that signs. It must never be shown.
pub struct SecretKey {
    seed: [u8; KEY_BYTES],
    pair: Ed25519KeyPair,
}

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::NoRandomness)?;
        Self::of(seed).ok_or(KeyError::NoRandomness)
    }

    /// The secret key of a PEM file.
    ///
    /// # Errors
    /// There is none, or it is of another algorithm or encrypted.
    pub fn read(pem: &str) -> Result<Self, KeyError> {
        const LABEL: &str = "PRIVATE KEY";
        let block = blocks(pem, LABEL).into_iter().next().ok_or(KeyError::Missing(LABEL))?;
        let seed = |block: Option<Vec<u8>>| block?.strip_prefix(&SECRET_HEAD)?.try_into().ok();
        seed(block).and_then(Self::of).ok_or(KeyError::Unfit(LABEL))
    }

    fn of(seed: [u8; KEY_BYTES]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(&seed).ok().map(|pair| Self { seed, pair })
    }

    /// The PEM file of this key.
    pub fn to_pem(&self) -> String {
        pem("PRIVATE KEY", &[&SECRET_HEAD[..], &self.seed].concat())
    }

    /// What others verify its signatures with.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Vouches for a module and a decision, in base64.
    pub fn sign(&self, decision: &str, digest: &str) -> String {
        BASE64_STANDARD.encode(self.pair.sign(signed_message(decision, digest).as_bytes()))
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    // At most 48 bytes, whose base64 fits a line.
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(bytes))
}

/// The bytes of every block of that label; nothing for one that is damaged.
fn blocks(pem: &str, label: &str) -> Vec<Option<Vec<u8>>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let after = pem.split(begin.as_str()).skip(1);
    let block = |rest: &str| {
        let (inner, _) = rest.split_once(end.as_str())?;
        let text: String = inner.chars().filter(|character| !character.is_whitespace()).collect();
        BASE64_STANDARD.decode(text).ok()
    };
    after.map(block).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` for this test alone.
    const OPENSSL_SECRET: &str = include_str!("signature/test-only.key");
    const OPENSSL_PUBLIC: &str = include_str!("signature/test-only.pub");
    /// Made by `openssl pkeyutl -sign -rawin` of what [`signed_message`] gives for [`DIGEST`].
    const OPENSSL_SIGNATURE: &str = include_str!("signature/test-only.sig");
    const DIGEST: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn keys_and_signatures_are_those_of_other_tools() {
        let secret = SecretKey::read(OPENSSL_SECRET).unwrap();
        let public = PublicKey::read_all(OPENSSL_PUBLIC).unwrap();
        assert_eq!(public, [secret.public()]);
        assert_eq!((secret.to_pem(), public[0].to_pem()), (OPENSSL_SECRET.to_owned(), OPENSSL_PUBLIC.to_owned()));
        // Ed25519 knows one signature of a message by a key.
        assert_eq!(secret.sign("primary-selection", DIGEST), OPENSSL_SIGNATURE.trim());
        assert!(public[0].verifies("primary-selection", DIGEST, OPENSSL_SIGNATURE.trim()));
    }

    #[test]
    fn a_signature_is_good_for_one_module_one_decision_and_one_key() {
        let (secret, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let (public, signature) = (secret.public(), secret.sign("scaling", DIGEST));
        assert!(public.verifies("scaling", DIGEST, &signature));
        assert!(!public.verifies("primary-selection", DIGEST, &signature), "another decision");
        assert!(!public.verifies("scaling", &DIGEST.replace('0', "1"), &signature), "another module");
        assert!(!other.public().verifies("scaling", DIGEST, &signature), "another key");
        assert_ne!(public.id(), other.public().id());
        assert_eq!(SecretKey::read(&secret.to_pem()).unwrap().public(), public);
    }

    #[test]
    fn what_is_no_key_is_named() {
        assert_eq!(PublicKey::read_all(OPENSSL_SECRET), Err(KeyError::Missing("PUBLIC KEY")));
        let damaged = OPENSSL_PUBLIC.replace("MCow", "MCoA");
        assert_eq!(PublicKey::read_all(&damaged), Err(KeyError::Unfit("PUBLIC KEY")));
        assert_eq!(SecretKey::read("").err(), Some(KeyError::Missing("PRIVATE KEY")));
        assert_eq!(PublicKey::read_all(&[OPENSSL_PUBLIC, OPENSSL_PUBLIC].concat()).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn whatever_stands_in_for_a_signature_is_none(text in "\\PC{0,100}", bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let public = PublicKey::read_all(OPENSSL_PUBLIC).unwrap().remove(0);
            prop_assert!(!public.verifies("primary-selection", DIGEST, &text));
            prop_assert!(!public.verifies("primary-selection", DIGEST, &BASE64_STANDARD.encode(bytes)));
            // No text is too strange to be read.
            let _ = PublicKey::read_all(&text);
        }
    }
}
