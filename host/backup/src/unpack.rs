//! A stream of checked parts as a directory again. It blocks, and belongs on a thread of its own.

use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::cipher::Decrypting;
use crate::keys::Identities;
use crate::pack::Contents;

/// Makes the directory and fills it, until the sender goes away. With identities the parts are an age file.
///
/// # Errors
/// Whatever the file system says, or an archive with something in it that no data directory has. Where it cannot be opened
/// there is no directory either.
pub fn unpack(parts: mpsc::Receiver<Bytes>, identities: Option<&Identities>, into: &Path) -> io::Result<Contents> {
    let source = Decrypting::new(Pieces::new(parts), identities)?;
    std::fs::create_dir(into)?;
    let mut archive = tar::Archive::new(zstd::Decoder::new(source)?);
    let mut contents = Contents::default();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if !kind.is_file() && !kind.is_dir() {
            return Err(io::Error::other(format!("{:?} in it is neither a file nor a directory", entry.path()?)));
        }
        if kind.is_file() {
            contents.files += 1;
            contents.bytes += entry.size();
        }
        if !entry.unpack_in(into)? {
            return Err(io::Error::other(format!("{:?} in it leads out of the directory", entry.path()?)));
        }
    }
    // What follows the archive's end, the rest of the compressed frame and of an age file, has its own checks.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(contents)
}

/// What was fetched, one piece after the other, as a stream. It ends when the sender goes away.
pub struct Pieces {
    parts: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Pieces {
    /// Those that come from there.
    pub fn new(parts: mpsc::Receiver<Bytes>) -> Self {
        Self { parts, current: Bytes::new() }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.parts.blocking_recv() {
                Some(next) => self.current = next,
                None => return Ok(0),
            }
        }
        let taken = self.current.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.current.split_to(taken));
        Ok(taken)
    }
}
