//! A dump of another server: its statements in one object, as mysqldump writes them.
//!
//! It has no manifest, so what can be known of its wholeness is what it says itself: where a compressed or an encrypted
//! stream ends, and mysqldump's last line. Nothing here understands SQL, and nothing may take a dump that was cut short for
//! a whole one as far as that can be told.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cipher::Decrypting;
use crate::error::Error;
use crate::keys::{Identities, Keys};
use crate::progress::Progress;
use crate::store::Store;
use crate::unpack::Pieces;
use crate::write::PART;

/// So much of the beginning of each line is looked at; all that is looked for is shorter.
const LOOKED_AT: usize = 64;

/// What mysqldump begins with within its first lines, here and in MariaDB.
const HEADERS: [&[u8]; 2] = [b"-- MySQL dump ", b"-- MariaDB dump "];

/// How many lines may stand before that: MariaDB writes one.
const HEADER_WITHIN: u64 = 3;

/// What its last line begins with.
const FOOTER: &[u8] = b"-- Dump completed";

/// Where the database begins that holds accounts and the data dictionary's other half.
const SYSTEM: [&[u8]; 2] = [b"USE `mysql`", b"-- Current Database: `mysql`"];

/// How the statements are packed, as the object's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    compression: Option<Compression>,
    encrypted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
}

impl Form {
    /// By the end of its name: `.sql`, then `.gz` or `.zst` if it is compressed, then `.age` if it is encrypted. None for
    /// any other name.
    pub fn of(object: &str) -> Option<Self> {
        let (rest, encrypted) = object.strip_suffix(".age").map_or((object, false), |rest| (rest, true));
        let packed = [(".gz", Compression::Gzip), (".zst", Compression::Zstd)];
        let found = packed.into_iter().find_map(|(end, how)| Some((rest.strip_suffix(end)?, how)));
        let (rest, compression) = found.map_or((rest, None), |(rest, how)| (rest, Some(how)));
        let name = rest.strip_suffix(".sql")?;
        (!name.is_empty() && !name.ends_with('/')).then_some(Self { compression, encrypted })
    }
}

/// Writes the statements of the dump `object` to `into`, and closes that. Progress is in bytes of the store.
///
/// # Errors
/// [`Error::Absent`], [`Error::Damaged`] where it does not end as it should, [`Error::Unfit`] where it holds what cannot be
/// taken, [`Error::File`] where `into` takes no more.
pub async fn pour(
    store: &Store,
    object: &str,
    form: Form,
    keys: &Keys,
    into: impl Write + Send + 'static,
    progress: &Arc<Progress>,
    abort: &CancellationToken,
) -> Result<(), Error> {
    if form.encrypted && keys.identities.is_empty() {
        let problem = "it is encrypted, and there is no secret key to open it with; name the Secret that has one under \
                       `identities` in spec.bootstrap.recovery.encryption.keysSecret";
        return Err(Error::Unfit { object: object.to_owned(), problem: problem.to_owned() });
    }
    let (sender, receiver) = mpsc::channel(1);
    let identities = keys.identities.clone();
    let unpacking = tokio::task::spawn_blocking(move || unpack(receiver, form, &identities, into));
    let fetched = tokio::select! {
        fetched = fetch(store, object, sender, progress) => fetched,
        () = abort.cancelled() => Err(Error::Aborted),
    };
    let unpacked = unpacking.await.map_err(|why| Error::file("unpacking", io::Error::other(why)))?;
    fetched?;
    unpacked.map_err(|why| match why {
        Trouble::Output(why) => Error::file(format!("handing {object} over"), why),
        Trouble::Damaged(problem) => Error::Damaged { object: object.to_owned(), problem },
        Trouble::Unfit(problem) => Error::Unfit { object: object.to_owned(), problem },
    })
}

async fn fetch(store: &Store, object: &str, sender: mpsc::Sender<Bytes>, progress: &Progress) -> Result<(), Error> {
    let found = store.look(object).await?;
    progress.expect(found.size());
    let mut at = 0;
    while at < found.size() {
        let until = found.size().min(at + PART as u64);
        let bytes = store.piece(&found, at..until).await?;
        progress.add(bytes.len() as u64);
        at = until;
        // Whoever unpacks has a better error than this one.
        if sender.send(bytes).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Why statements did not come through.
#[derive(Debug)]
enum Trouble {
    Output(io::Error),
    Damaged(String),
    Unfit(String),
}

fn unpack(pieces: mpsc::Receiver<Bytes>, form: Form, identities: &Identities, into: impl Write) -> Result<(), Trouble> {
    let unreadable = |why: io::Error| Trouble::Damaged(why.to_string());
    let locked = |why: io::Error| Trouble::Unfit(format!("it cannot be opened: {why}"));
    let source = Decrypting::new(Pieces::new(pieces), form.encrypted.then_some(identities)).map_err(locked)?;
    let statements: Box<dyn Read + '_> = match form.compression {
        None => Box::new(source),
        Some(Compression::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Some(Compression::Zstd) => Box::new(zstd::Decoder::new(source).map_err(unreadable)?),
    };
    hand_over(statements, into)
}

fn hand_over(mut statements: impl Read, mut into: impl Write) -> Result<(), Trouble> {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = match statements.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => &buffer[..read],
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(Trouble::Damaged(why.to_string())),
        };
        lines.see(read).map_err(Trouble::Unfit)?;
        into.write_all(read).map_err(Trouble::Output)?;
    }
    into.flush().map_err(Trouble::Output)?;
    lines.end().map_err(Trouble::Damaged)
}

/// What the lines say of the dump.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of the present one.
    line: Vec<u8>,
    count: u64,
    is_mysqldump: bool,
    /// The last one that was not empty ended the dump.
    completed: bool,
}

impl Lines {
    fn see(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end]);
            self.line_ends()?;
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
        Ok(())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LOOKED_AT.saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(&bytes[..room]);
    }

    fn line_ends(&mut self) -> Result<(), String> {
        self.count += 1;
        let line = std::mem::take(&mut self.line);
        let begins_with = |words: &[u8]| line.starts_with(words);
        if SYSTEM.into_iter().any(begins_with) {
            return Err(
                "it holds the database `mysql`, in which each server keeps its own accounts and settings; dump the \
                        databases of applications only (mysqldump --databases …)"
                    .to_owned(),
            );
        }
        self.is_mysqldump |= self.count <= HEADER_WITHIN && HEADERS.into_iter().any(begins_with);
        if !line.iter().all(u8::is_ascii_whitespace) {
            self.completed = begins_with(FOOTER);
        }
        Ok(())
    }

    /// Whether that was all.
    fn end(mut self) -> Result<(), String> {
        if !self.line.is_empty() {
            self.line_ends()?;
        }
        if self.is_mysqldump && !self.completed {
            return Err(format!(
                "it was cut short: mysqldump ends with `{}`, and this does not",
                String::from_utf8_lossy(FOOTER)
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DUMP: &str = "-- MySQL dump 10.13  Distrib 9.7.4\n\nUSE `app`;\nINSERT INTO t VALUES (1);\n-- Dump completed on 2026-11-28\n";

    fn form(name: &str) -> Form {
        Form::of(name).unwrap()
    }

    fn packed(name: &str) -> Vec<u8> {
        match form(name).compression {
            None => DUMP.into(),
            Some(Compression::Zstd) => zstd::encode_all(DUMP.as_bytes(), 0).unwrap(),
            Some(Compression::Gzip) => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(DUMP.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    /// Statements end up here.
    #[derive(Clone, Default)]
    struct Out(Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn poured(name: &str, bytes: Vec<u8>, keys: &Keys) -> Result<String, Error> {
        let (store, out, progress) = (Store::in_memory(), Out::default(), Arc::<Progress>::default());
        store.put(name, bytes.into()).await.unwrap();
        pour(&store, name, form(name), keys, out.clone(), &progress, &CancellationToken::new()).await?;
        assert_eq!(progress.done(), progress.total());
        let text = out.0.lock().unwrap().clone();
        Ok(String::from_utf8(text).unwrap())
    }

    #[rstest]
    #[case("a/shop.sql")]
    #[case("shop.sql.gz")]
    #[case("shop.sql.zst")]
    #[tokio::test]
    async fn statements_come_out_as_they_were(#[case] name: &str) {
        assert_eq!(poured(name, packed(name), &Keys::default()).await.unwrap(), DUMP);
    }

    #[rstest]
    #[case("shop.sql.gz")]
    #[case("shop.sql.zst")]
    #[case("shop.sql")]
    #[tokio::test]
    async fn one_that_was_cut_short_is_none(#[case] name: &str) {
        let mut bytes = packed(name);
        bytes.truncate(bytes.len() - 20);
        let refused = poured(name, bytes, &Keys::default()).await.unwrap_err();
        assert!(matches!(&refused, Error::Damaged { object, .. } if object == name), "{refused}");
    }

    #[test]
    fn a_name_says_how_it_is_packed_and_another_is_no_dump() {
        assert_eq!(form("a.sql.zst.age"), Form { compression: Some(Compression::Zstd), encrypted: true });
        assert_eq!(form("a.sql.age"), Form { compression: None, encrypted: true });
        for none in ["a.sql.age.zst", "a.zst", "a.sql.bz2", ".sql", "dumps/.sql", "dumps/"] {
            assert_eq!(Form::of(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn what_is_encrypted_needs_a_key_and_says_so_before_anything_is_read() {
        let refused = poured("shop.sql.age", DUMP.into(), &Keys::default()).await.unwrap_err().to_string();
        assert!(refused.contains("keysSecret") && refused.contains("shop.sql.age"), "{refused}");
    }

    #[tokio::test]
    async fn an_object_that_is_not_there_is_named() {
        let (store, progress) = (Store::in_memory(), Arc::<Progress>::default());
        let never = CancellationToken::new();
        let keys = Keys::default();
        let poured = pour(&store, "b.sql", form("b.sql"), &keys, io::sink(), &progress, &never).await.unwrap_err();
        assert!(matches!(poured, Error::Absent { object } if object == "b.sql"));
    }

    #[rstest]
    #[case("CREATE TABLE t (a INT);\n", true)]
    #[case("-- MySQL dump 10.13\nCREATE TABLE t (a INT);\n", false)]
    #[case("/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\nSELECT 1;", false)]
    #[case("-- MySQL dump 10.13\n-- Dump completed on 2026-11-28\n\n  \n", true)]
    #[case("-- MySQL dump 10.13\n-- Dump completed on 2026-11-28\nSELECT 1;\n", false)]
    fn only_what_says_that_it_is_mysqldumps_has_to_end_like_it(#[case] text: &str, #[case] whole: bool) {
        assert_eq!(hand_over(text.as_bytes(), io::sink()).is_ok(), whole);
    }

    #[test]
    fn the_database_with_the_accounts_is_refused_however_it_is_read() {
        for text in ["USE `app`;\nUSE `mysql`;\n", "--\n-- Current Database: `mysql`\n--\n"] {
            let mut lines = Lines::default();
            // A byte at a time, as nobody reads, and with the rest of a line behind what is looked at.
            let seen = text.bytes().try_for_each(|byte| lines.see(&[byte]));
            assert!(seen.unwrap_err().contains("--databases"));
        }
        let data = format!("INSERT INTO t VALUES ('{}USE `mysql`');\n", "x".repeat(LOOKED_AT));
        assert!(hand_over(data.as_bytes(), io::sink()).is_ok());
    }
}
