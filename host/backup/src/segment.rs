//! The bytes of a segment become a binary log file again. It blocks, and belongs on a thread of its own.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::cipher::Decrypting;
use crate::keys::Identities;

/// Writes what is compressed in one file to another, new one, which has to be of so many bytes then. With identities the
/// one is an age file.
///
/// # Errors
/// Whatever the file system says, that it cannot be opened, or that it is not.
pub fn unpack(stored: &Path, identities: Option<&Identities>, into: &Path, bytes: u64) -> io::Result<()> {
    let stored = Decrypting::new(BufReader::new(File::open(stored)?), identities)?;
    let mut decoder = zstd::Decoder::new(stored)?.take(bytes.saturating_add(1));
    let written = io::copy(&mut decoder, &mut File::create_new(into)?)?;
    if written != bytes {
        return Err(io::Error::other(format!("it is of {written} bytes or more, and its entry says {bytes}")));
    }
    Ok(())
}
