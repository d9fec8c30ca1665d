//! A directory as a stream of parts: tar, zstd, age where that is asked for, SHA-256. It blocks, and belongs on a thread of
//! its own.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use zstd::stream::raw::CParameter;

use crate::cipher::Encrypting;
use crate::encryption::Recipients;
use crate::manifest::Part;
use crate::progress::Progress;

/// How hard to compress: the level that zstd itself takes. Data of InnoDB gets little smaller with higher ones.
const LEVEL: i32 = 3;

/// The most threads that compress. With [`JOB`] they hold about 25 MiB.
const MOST_THREADS: usize = 4;

/// What one thread compresses at a time.
const JOB: u32 = 2 << 20;

/// One finished part: what the manifest says of it, and its bytes.
pub struct Packed {
    /// What the manifest says of it.
    pub part: Part,
    /// What is sent.
    pub bytes: Bytes,
}

/// How much went in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is in a directory.
///
/// # Errors
/// Whatever the file system says.
pub fn measure(dir: &Path) -> io::Result<Contents> {
    let mut contents = Contents::default();
    for (path, is_dir) in walk(dir)? {
        if !is_dir {
            contents.files += 1;
            contents.bytes += fs::metadata(dir.join(path))?.len();
        }
    }
    Ok(contents)
}

/// Sends the directory in parts of `size` bytes, the last one smaller, until the receiver goes away.
///
/// # Errors
/// Whatever the file system says; a broken pipe where the receiver is gone.
pub fn pack(
    dir: &Path,
    size: usize,
    recipients: Option<&Recipients>,
    parts: mpsc::Sender<Packed>,
    progress: &Arc<Progress>,
) -> io::Result<Contents> {
    let sink = Sink { buffer: Vec::with_capacity(size), size, parts };
    let mut encoder = zstd::Encoder::new(Encrypting::new(sink, recipients)?, LEVEL)?;
    // As many as the limit of the container leaves room for; one compresses on this thread.
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    if threads > 1 {
        encoder.set_parameter(CParameter::NbWorkers(u32::try_from(threads).unwrap_or(1)))?;
        encoder.set_parameter(CParameter::JobSize(JOB))?;
    }
    let mut archive = tar::Builder::new(encoder);
    let mut contents = Contents::default();
    for (path, is_dir) in walk(dir)? {
        let full = dir.join(&path);
        let mut header = tar::Header::new_gnu();
        header.set_metadata_in_mode(&fs::metadata(&full)?, tar::HeaderMode::Deterministic);
        if is_dir {
            archive.append_data(&mut header, &path, io::empty())?;
            continue;
        }
        let file = File::open(&full)?;
        archive.append_data(&mut header, &path, Counted { file, progress })?;
        contents.files += 1;
        contents.bytes += header.size()?;
    }
    let mut sink = archive.into_inner()?.finish()?.finish()?;
    sink.send()?;
    Ok(contents)
}

/// Everything below a directory, in the same order every time, directories before what is in them.
fn walk(dir: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        for entry in fs::read_dir(dir.join(&below))? {
            let entry = entry?;
            let (path, kind) = (below.join(entry.file_name()), entry.file_type()?);
            if kind.is_dir() {
                waiting.push(path.clone());
            } else if !kind.is_file() {
                return Err(io::Error::other(format!(
                    "{} is neither a file nor a directory: data outside of the data directory cannot be backed up",
                    path.display()
                )));
            }
            found.push((path, kind.is_dir()));
        }
    }
    found.sort();
    Ok(found)
}

/// Collects what comes until it makes a part.
struct Sink {
    buffer: Vec<u8>,
    size: usize,
    parts: mpsc::Sender<Packed>,
}

impl Sink {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(self.size)));
        let part = Part { size: bytes.len() as u64, sha256: hex::encode(Sha256::digest(&bytes)) };
        self.parts.blocking_send(Packed { part, bytes }).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.size - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == self.size {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Counted<'a> {
    file: File,
    progress: &'a Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.progress.add(count as u64);
        Ok(count)
    }
}
