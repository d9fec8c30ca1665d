//! The layer between zstd and the store: a stream that is encrypted on its way, or passes as it is.
//!
//! Whatever the size, it holds one chunk of 64 KiB. It must never let a stream that was cut off pass for a whole one.

use std::io::{self, Read, Write};

use age::stream::{StreamReader, StreamWriter};
use age::{DecryptError, Decryptor, Encryptor};

use crate::encryption::Recipients;
use crate::keys::Identities;

/// A stream on its way to a store. It is whole only once it was [finished](Self::finish).
pub enum Encrypting<W: Write> {
    /// It passes as it is.
    Plain(W),
    /// It becomes an age file.
    Age(Box<StreamWriter<W>>),
}

impl<W: Write> Encrypting<W> {
    /// Begins it: for these recipients, or as it is where there are none.
    ///
    /// # Errors
    /// Whatever the output says.
    pub fn new(output: W, recipients: Option<&Recipients>) -> io::Result<Self> {
        let Some(recipients) = recipients else { return Ok(Self::Plain(output)) };
        let encryptor = Encryptor::with_recipients(recipients.keys()).map_err(io::Error::other)?;
        Ok(Self::Age(Box::new(encryptor.wrap_output(output)?)))
    }

    /// Ends it.
    ///
    /// # Errors
    /// Whatever the output says.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(output) => Ok(output),
            Self::Age(stream) => stream.finish(),
        }
    }
}

impl<W: Write> Write for Encrypting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Age(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            Self::Age(stream) => stream.flush(),
        }
    }
}

/// A stream on its way from a store.
pub enum Decrypting<R: Read> {
    /// It was not encrypted.
    Plain(R),
    /// It was an age file.
    Age(Box<StreamReader<R>>),
}

impl<R: Read> Decrypting<R> {
    /// Begins it, reading no more than its head: with these identities, or as it is where there are none.
    ///
    /// # Errors
    /// Whatever the input says, it is no age file, or none of them opens it.
    pub fn new(input: R, identities: Option<&Identities>) -> io::Result<Self> {
        let Some(identities) = identities else { return Ok(Self::Plain(input)) };
        let opened = Decryptor::new(input).and_then(|file| file.decrypt(identities.keys()));
        match opened {
            Ok(stream) => Ok(Self::Age(Box::new(stream))),
            Err(DecryptError::Io(why)) => Err(why),
            Err(DecryptError::NoMatchingKeys) => Err(io::Error::other("none of the identities opens it")),
            Err(why) => Err(io::Error::other(format!("it is no age file that can be opened: {why}"))),
        }
    }
}

impl<R: Read> Read for Decrypting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Age(stream) => stream.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;
    use age::x25519::Identity;

    use super::*;

    fn both(identity: &Identity) -> (Recipients, Identities) {
        let recipients = Recipients::parse(&identity.to_public().to_string()).unwrap();
        (recipients, Identities::parse(identity.to_string().expose_secret()).unwrap())
    }

    fn pair() -> (Recipients, Identities) {
        both(&Identity::generate())
    }

    fn encrypted(bytes: &[u8], recipients: &Recipients) -> Vec<u8> {
        let mut stream = Encrypting::new(Vec::new(), Some(recipients)).unwrap();
        stream.write_all(bytes).unwrap();
        stream.finish().unwrap()
    }

    fn opened(bytes: &[u8], identities: &Identities) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        Decrypting::new(bytes, Some(identities))?.read_to_end(&mut found)?;
        Ok(found)
    }

    #[test]
    fn what_was_encrypted_is_opened_by_its_identity_and_by_no_other() {
        let ((recipients, identities), (_, other)) = (pair(), pair());
        for size in [0, 1, 65_535, 65_536, 65_537, 300_000] {
            let plain: Vec<u8> = (0..size).map(|number: usize| (number % 251) as u8).collect();
            let stored = encrypted(&plain, &recipients);
            assert_eq!(opened(&stored, &identities).unwrap(), plain, "{size}");
            assert!(opened(&stored, &other).unwrap_err().to_string().contains("none of the identities"));
        }
        let plain = encrypted(b"", &recipients);
        assert_ne!(plain, encrypted(b"", &recipients), "no two streams have the same key");
    }

    #[test]
    fn it_is_an_age_file_like_any_other() {
        let identity = Identity::generate();
        let (recipients, identities) = both(&identity);
        assert_eq!(age::decrypt(&identity, &encrypted(b"rows", &recipients)).unwrap(), b"rows");
        let theirs = age::encrypt(&identity.to_public(), b"rows").unwrap();
        assert_eq!(opened(&theirs, &identities).unwrap(), b"rows");
    }

    #[test]
    fn a_stream_that_was_cut_off_anywhere_is_an_error() {
        let (recipients, identities) = pair();
        let stored = encrypted(&vec![7; 150_000], &recipients);
        let head = stored.len() - 150_000 - 3 * 16;
        let chunk = 65_536 + 16;
        let ends = [0, 10, head, head + chunk, head + 2 * chunk, stored.len() - 1];
        for end in ends {
            assert!(opened(&stored[..end], &identities).is_err(), "{end} of {}", stored.len());
        }
        let longer = [&stored[..], b"x"].concat();
        assert!(opened(&longer, &identities).is_err());
    }

    #[test]
    fn what_is_not_encrypted_passes_as_it_is() {
        let mut stream = Encrypting::new(Vec::new(), None).unwrap();
        stream.write_all(b"rows").unwrap();
        assert_eq!(stream.finish().unwrap(), b"rows");
        let mut found = Vec::new();
        Decrypting::new(&b"rows"[..], None).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found, b"rows");
    }
}
