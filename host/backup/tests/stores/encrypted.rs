//! What is encrypted on its way to a store, and who can read it there.

use std::process::{Command, Stdio};

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use backup::encryption::{self, Method as Encrypted, Recipients};
use backup::keys::Identities;
use backup::{cipher::Encrypting, segment as segments};

use super::*;

/// A pair of keys as the text that is in a Secret.
fn texts() -> (String, String) {
    let identity = Identity::generate();
    (identity.to_public().to_string(), identity.to_string().expose_secret().to_owned())
}

fn keys(identities: &[&str]) -> Keys {
    Keys { secret: Some("backup-keys".to_owned()), identities: Identities::parse(&identities.join("\n")).unwrap() }
}

/// A pair of keys.
pub fn pair() -> (Recipients, Keys) {
    let (public, secret) = texts();
    (Recipients::parse(&public).unwrap(), keys(&[&secret]))
}

pub async fn write(store: &Store, dir: &Path, manner: Manner<'_>) -> Result<Manifest, Error> {
    let encryption = manner.recipients.map(Recipients::encryption);
    let manifest = |content| {
        let format = manifest::format(Method::Clone, encryption.as_ref());
        Manifest { format, encryption, ..manifest(content) }
    };
    let (progress, abort) = (Arc::default(), CancellationToken::new());
    backup::write::write(store, PATH, dir, manner, &progress, &abort, manifest).await.map(|(manifest, _)| manifest)
}

async fn write_for(store: &Store, dir: &Path, recipients: &Recipients) -> Manifest {
    write(store, dir, Manner { recipients: Some(recipients), ..MANNER }).await.unwrap()
}

pub async fn restore(store: &Store, keys: &Keys, into: &Path) -> Result<Manifest, Error> {
    let manifest = read::manifest(store, PATH, None).await?;
    read::read(store, PATH, &manifest, keys, into, &Arc::default(), &CancellationToken::new()).await?;
    Ok(manifest)
}

/// All that is stored of the backup's data.
fn stored(place: &Place, manifest: &Manifest) -> Vec<u8> {
    let parts = (0..manifest.content.parts.len()).map(|number| fs::read(place.file(&layout::part(PATH, number))));
    parts.flat_map(|part| part.unwrap()).collect()
}

#[tokio::test]
async fn what_went_in_comes_out_for_any_one_of_those_it_was_encrypted_for() {
    for place in Place::both() {
        let (store, source, target) = (place.open(), data(300_000), tempfile::tempdir().unwrap());
        let ((one, first), (other, second)) = (texts(), texts());
        let both = Recipients::parse(&format!("{one}\n{other}")).unwrap();
        let written = write_for(&store, source.path(), &both).await;
        assert!(written.content.parts.len() > 3, "{}", written.content.parts.len());
        let said = written.encryption.clone().unwrap();
        assert_eq!((written.format, said.method, said.recipients), (2, Encrypted::Age, vec![one, other]));
        for (name, secret) in [("first", first), ("second", second)] {
            let into = target.path().join(name);
            assert_eq!(restore(&store, &keys(&[&secret]), &into).await.unwrap(), written);
            assert_eq!(contents(&into), contents(source.path()), "{name}");
        }
    }
}

#[tokio::test]
async fn without_the_right_key_nothing_is_fetched_and_nothing_made() {
    for place in Place::both() {
        let (store, source, target) = (place.open(), data(100_000), tempfile::tempdir().unwrap());
        let ((recipients, right), (_, wrong)) = (pair(), pair());
        write_for(&store, source.path(), &recipients).await;
        // What is not there cannot be fetched: the manifest alone is enough to say it.
        fs::rename(place.file(PATH).join("parts"), place.dir.path().join("away")).unwrap();
        let into = target.path().join("new");
        for (keys, word) in
            [(&Keys::default(), "no key was given"), (&wrong, "none of the identities in Secret backup-keys opens it")]
        {
            let refused = restore(&store, keys, &into).await.unwrap_err();
            let said = refused.to_string();
            assert!(matches!(refused, Error::Locked { .. }) && said.contains(word), "{said}");
            assert!(said.contains(PATH) && said.contains(&recipients.texts()[0]), "{said}");
            assert!(!into.exists());
        }
        fs::rename(place.dir.path().join("away"), place.file(PATH).join("parts")).unwrap();
        restore(&store, &right, &into).await.unwrap();
    }
}

#[tokio::test]
async fn a_manifest_that_names_others_than_those_it_is_encrypted_for_makes_nothing() {
    let (place, source, target) = (Place::directory(), data(100_000), tempfile::tempdir().unwrap());
    let ((recipients, _), (others, theirs)) = (pair(), pair());
    let written = write_for(&place.open(), source.path(), &recipients).await;
    retell(&place, &Manifest { encryption: Some(others.encryption()), ..written });
    let refused = restore(&place.open(), &theirs, &target.path().join("new")).await.unwrap_err().to_string();
    assert!(refused.contains("none of the identities opens it") && refused.contains(PATH), "{refused}");
    assert!(!target.path().join("new").exists());
}

/// Puts another manifest, whole by its checksum, in the place of the one that was written.
fn retell(place: &Place, manifest: &Manifest) {
    let (text, sum) = manifest.text().unwrap();
    fs::write(place.file(&layout::manifest(PATH)), text).unwrap();
    fs::write(place.file(&layout::manifest_sum(PATH)), format!("{sum}  manifest.json\n")).unwrap();
}

#[tokio::test]
async fn one_flipped_bit_is_found_whoever_has_which_key_and_the_object_is_named() {
    for place in Place::both() {
        let (store, source) = (place.open(), data(200_000));
        let (recipients, right) = pair();
        let written = write_for(&store, source.path(), &recipients).await;
        for number in 0..written.content.parts.len() {
            let object = layout::part(PATH, number);
            let whole = fs::read(place.file(&object)).unwrap();
            for at in [0, whole.len() / 2, whole.len() - 1] {
                let mut spoiled = whole.clone();
                spoiled[at] ^= 1;
                rewrite(&place.file(&object), &spoiled);
                let target = tempfile::tempdir().unwrap();
                let refused = restore(&store, &right, &target.path().join("new")).await.unwrap_err();
                let named = matches!(&refused, Error::Damaged { object: named, .. } if *named == object);
                assert!(named, "{object}, byte {at}: {refused}");
            }
            rewrite(&place.file(&object), &whole);
        }
        let target = tempfile::tempdir().unwrap();
        restore(&store, &right, &target.path().join("new")).await.unwrap();
    }
}

/// A manifest that leaves the end out, and is whole itself: the checksums of all parts are right then.
#[tokio::test]
async fn a_stream_whose_end_is_missing_is_not_taken_for_a_whole_one() {
    let (place, source) = (Place::directory(), data(200_000));
    let (recipients, right) = pair();
    let written = write_for(&place.open(), source.path(), &recipients).await;
    for left in 1..written.content.parts.len() {
        let mut shorter = written.clone();
        shorter.content.parts.truncate(left);
        shorter.content.stored_bytes = shorter.content.parts.iter().map(|part| part.size).sum();
        retell(&place, &shorter);
        let target = tempfile::tempdir().unwrap();
        let refused = restore(&place.open(), &right, &target.path().join("new")).await;
        assert!(refused.is_err(), "{left} of {} parts", written.content.parts.len());
    }
}

#[tokio::test]
async fn keys_can_be_changed_and_what_was_written_before_stays_readable() {
    let (old, new) = (texts(), texts());
    let rotated = keys(&[&new.1, &old.1]);
    for (public, alone) in [(&old.0, &old.1), (&new.0, &new.1)] {
        let (place, source, target) = (Place::directory(), data(50_000), tempfile::tempdir().unwrap());
        write_for(&place.open(), source.path(), &Recipients::parse(public).unwrap()).await;
        for (name, keys) in [("rotated", &rotated), ("alone", &keys(&[alone]))] {
            restore(&place.open(), keys, &target.path().join(name)).await.unwrap();
            assert_eq!(contents(&target.path().join(name)), contents(source.path()));
        }
    }
}

#[tokio::test]
async fn what_is_not_encrypted_is_restored_with_keys_as_without() {
    let (place, source, target) = (Place::directory(), data(50_000), tempfile::tempdir().unwrap());
    let written = write(&place.open(), source.path(), MANNER).await.unwrap();
    assert_eq!((written.format, &written.encryption), (1, &None), "an earlier release reads it");
    restore(&place.open(), &pair().1, &target.path().join("new")).await.unwrap();
    assert_eq!(contents(&target.path().join("new")), contents(source.path()));
}

/// What is said in `docs/backups.md`, with the tool whose format it is: it shares no line with this crate.
#[tokio::test]
async fn the_plain_tool_opens_it_with_keys_of_its_own_making() {
    let (place, source, dir) = (Place::directory(), data(300_000), tempfile::tempdir().unwrap());
    let run = |program: &str, arguments: &[&str], input: &[u8]| {
        let file = dir.path().join("input");
        fs::write(&file, input).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).stdin(fs::File::open(&file).unwrap()).stderr(Stdio::inherit());
        let output =
            command.output().unwrap_or_else(|why| panic!("{program}, which tests/lab/setup.sh installs: {why}"));
        assert!(output.status.success(), "{program}");
        output.stdout
    };
    let identities = dir.path().join("keys.txt").display().to_string();
    run("age-keygen", &["-o", &identities], b"");
    let public = run("age-keygen", &["-y", &identities], b"");
    let recipients = Recipients::parse(&String::from_utf8(public).unwrap()).unwrap();
    let written = write_for(&place.open(), source.path(), &recipients).await;

    let opened = run("age", &["--decrypt", "--identity", &identities], &stored(&place, &written));
    let into = dir.path().join("new");
    tar::Archive::new(zstd::Decoder::new(&opened[..]).unwrap()).unpack(&into).unwrap();
    assert_eq!(contents(&into), contents(source.path()));
    let keys = keys(&[&fs::read_to_string(&identities).unwrap()]);
    restore(&place.open(), &keys, &dir.path().join("ours")).await.unwrap();
}

/// The bytes of a segment that holds `text`.
fn bytes_of(text: &str, recipients: Option<&Recipients>) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Encrypting::new(Vec::new(), recipients).unwrap(), 3).unwrap();
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap().finish().unwrap()
}

#[tokio::test]
async fn a_chain_goes_on_when_it_begins_to_be_encrypted_and_each_segment_says_for_itself() {
    for place in Place::both() {
        let archive = Archive::at(place.open(), ARCHIVE).unwrap();
        let ((recipients, right), (_, wrong), dir) = (pair(), pair(), tempfile::tempdir().unwrap());
        for sequence in 1..=3 {
            let recipients = Some(&recipients).filter(|_| sequence > 1);
            let encryption = recipients.map(Recipients::encryption);
            let stored = bytes_of(&format!("log {sequence}"), recipients);
            let plain = segment(sequence, "shop-1", &stored);
            let object = if recipients.is_some() { layout::encrypted(&plain.object) } else { plain.object.clone() };
            let format = encryption::format(log::FORMAT, encryption.as_ref());
            let entry = Entry { format, encryption, object, bytes: 5, ..plain };
            assert_eq!(archive.append(&entry, stored.into()).await.unwrap(), Appended::Yes);
        }
        let executed = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-20".parse().unwrap();
        let entries = archive.back_to(&executed).await.unwrap();
        assert_eq!(log::plan(ARCHIVE, &entries, &executed).unwrap().replay.len(), 2, "the chain holds");
        let first = archive.entry(1).await.unwrap().unwrap();
        for entry in [&first].into_iter().chain(&entries) {
            let (fetched, into) = (dir.path().join("fetched"), dir.path().join(entry.sequence.to_string()));
            archive.fetch(entry, &fetched).await.unwrap();
            let data = entry.data(ARCHIVE);
            assert!(right.open(&data, entry.encryption.as_ref()).is_ok());
            assert_eq!(wrong.open(&data, entry.encryption.as_ref()).is_ok(), entry.sequence == 1);
            let with = |keys: &Keys| entry.encryption.as_ref().map(|_| keys.identities.clone());
            if entry.encryption.is_some() {
                let refused = segments::unpack(&fetched, with(&wrong).as_ref(), &into, entry.bytes).unwrap_err();
                assert!(refused.to_string().contains("none of the identities") && !into.exists(), "{refused}");
            }
            segments::unpack(&fetched, with(&right).as_ref(), &into, entry.bytes).unwrap();
            assert_eq!(fs::read_to_string(&into).unwrap(), format!("log {}", entry.sequence));
        }
    }
}
