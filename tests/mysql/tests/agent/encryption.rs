//! Encrypted backups of real members, with the archive beside them, and who can make a cluster of them.

use std::sync::atomic::Ordering;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use lab::s3::S3Server;
use mysql_tests::Cluster;
use topology::facts::{DataState, JobState};
use topology::gtid::GtidSet;
use wire::{ArchiveAsk, BackupAsk, BackupKeys, BackupOrder, RecoveryTarget, Sensitive};

use crate::Result;
use crate::archive::{self, UID, chain, keep_as, surroundings, writer};
use crate::backups::{self, BUCKET, PATH, access, made_as, nowhere, ordered};
use crate::recovery::{empty, opened, recover_with, rows};

fn keys(identity: &Identity) -> Option<BackupKeys> {
    let identities = Sensitive(format!("# a comment\n{}\n", identity.to_string().expose_secret()));
    Some(BackupKeys { secret: "backup-keys".to_owned(), identities })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_encrypted_under_writes_comes_back_for_whoever_has_the_key_and_for_nobody_else() -> Result {
    let bucket = tempfile::tempdir()?;
    let server = S3Server::start(bucket.path(), BUCKET, nowhere()?)?;
    let store = access(server.endpoint().trim_start_matches("http://").parse()?);
    let identity = Identity::generate();
    let recipients = vec![identity.to_public().to_string()];
    let (cluster, _) = Cluster::serving_in(surroundings(), 2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));

    // An order for nobody, or for what is no key, is not taken for one without encryption.
    for wrong in [Vec::new(), vec!["age1wrong".to_owned()]] {
        let ask = BackupAsk::BeginEncrypted { order: ordered("none", store.clone()), recipients: wrong };
        let answer = backups::ask(replica, ask).await?;
        assert!(answer.refused.is_some_and(|why| why.contains("public keys")) && answer.job.is_none());
    }

    let (stop, writing) = writer(primary, 1_000).await?;
    let order = archive::order(&store, 1, GtidSet::new());
    let encrypted = |order| ArchiveAsk::KeepEncrypted { order, recipients: recipients.clone() };
    keep_as(replica, primary, (order.clone(), ArchiveAsk::Keep), "it begins", |state| state.sequence > 0).await?;
    let full = BackupOrder { cluster_uid: UID.to_owned(), ..*ordered("one", store.clone()) };
    made_as(replica, BackupAsk::BeginEncrypted { order: Box::new(full), recipients: recipients.clone() }).await?;
    let grown = |sequence: u64| move |state: &wire::ArchiveState| state.sequence >= sequence;
    let plain = keep_as(replica, primary, (order.clone(), ArchiveAsk::Keep), "it grows", grown(3)).await?;
    keep_as(replica, primary, (order.clone(), &encrypted), "some more", grown(plain.sequence + 3)).await?;
    stop.store(true, Ordering::SeqCst);
    writing.await??;
    let executed = primary.executed().await?;
    let everything = |state: &wire::ArchiveState| executed.is_subset_of(&state.covered);
    keep_as(replica, primary, (order, &encrypted), "all of it", everything).await?;
    let written = rows(primary).await?;
    cluster.stop().await?;

    let entries = chain(&store).await?;
    let is_encrypted: Vec<_> = entries.iter().map(|entry| entry.encryption.is_some()).collect();
    assert!(is_encrypted.is_sorted() && !is_encrypted[0] && is_encrypted[is_encrypted.len() - 1], "{is_encrypted:?}");
    let objects = bucket.path().join(BUCKET);
    let begins =
        |object: String| Ok::<_, std::io::Error>(std::fs::read(objects.join(object))?.starts_with(b"age-encryption"));
    assert!(begins(format!("{PATH}/parts/000000"))?);
    for entry in &entries {
        assert_eq!(begins(entry.data(&backup::layout::log("test", "shop", UID)))?, entry.encryption.is_some());
    }

    let mut other = empty().await?;
    for (tried, word) in [
        (None, "no key was given"),
        (keys(&Identity::generate()), "none of the identities in Secret backup-keys opens it"),
    ] {
        let state = recover_with(&other, &store, "test/shop", Some(RecoveryTarget::End), tried).await?;
        let JobState::Failed { error } = state else { anyhow::bail!("{word}: {state:?}") };
        anyhow::ensure!(error.contains(word) && error.contains(PATH) && error.contains(&recipients[0]), "{error}");
        let member = other.member(0);
        anyhow::ensure!(member.report().await?.data == DataState::Empty && !member.volume().join("mysql.new").exists());
    }
    let state = recover_with(&other, &store, "test/shop", Some(RecoveryTarget::End), keys(&identity)).await?;
    assert_eq!(state, JobState::Done);
    assert_eq!(opened(&mut other).await?, executed);
    assert_eq!(rows(other.member(0)).await?, written);
    other.stop().await
}
