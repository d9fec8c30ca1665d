//! What the agent has promised and must remember over any crash: the record, when its data was opened, its
//! standing, whom it follows. One small file, written before anything is obeyed.
//!
//! It must never hold what mysqld or the operator can tell instead, and it must never forget on an error: when
//! the write fails, memory stays as it was.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use topology::facts::{Copies, Trimmed};
use topology::record::{Claim, Phase, Record, StaleRecord};
use uuid::Uuid;
use wire::Endpoint;

use crate::durable;

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Remembered {
    /// The record that was last accepted.
    pub record: Option<Record>,
    /// When which data was last opened for writing.
    pub opened: Option<Opened>,
    /// Which data was proved complete, and under which boot of the machine.
    pub proved: Option<Proved>,
    /// How many replicas a commit waits for once this member is open.
    pub wait_count: Option<u32>,
    /// Whom this data follows as a replica, and under which claim it was told so. None once it is opened.
    pub following: Option<Following>,
    /// What was last cut off the end of this member's binary log.
    pub trimmed: Option<Trimmed>,
    /// Copies of another member's data that were begun here one soon after the other.
    pub copies: Option<Copies>,
}

/// An opening for writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// The epoch of the record under which it was.
    pub epoch: u64,
    /// The data that was.
    pub incarnation: Uuid,
    /// Every server_uuid under which that data was ever opened, sorted: a trimmed member has a new one.
    #[serde(default)]
    pub server_uuids: Vec<Uuid>,
}

/// A proof of standing. It ends with the data it was given for and with the boot of the machine, because a
/// relay log that was acknowledged may not have been fsynced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proved {
    /// The data that was proved.
    pub incarnation: Uuid,
    /// The kernel's boot identifier at that time.
    pub boot_id: String,
}

/// A source, and the claim under which it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Following {
    /// Whom.
    pub source: Endpoint,
    /// Under which claim.
    pub claim: Claim,
    /// Which data follows.
    pub incarnation: Uuid,
    /// How much later, in seconds, a read replica applies what it receives.
    #[serde(default)]
    pub delay_s: u64,
}

/// The remembered state, shared. Reading it never waits for the disk.
#[derive(Debug, Clone)]
pub struct State {
    path: Arc<PathBuf>,
    current: Arc<std::sync::RwLock<Arc<Remembered>>>,
    writing: Arc<Mutex<()>>,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The record went back in time, or moved on since the command was given.
    #[error(transparent)]
    Stale(#[from] StaleRecord),
    /// The volume did not take it.
    #[error("the agent's state could not be written: {0}; nothing was obeyed")]
    Disk(#[from] std::io::Error),
}

impl State {
    /// Reads what is on disk; a volume without it is a new one.
    ///
    /// # Errors
    /// A file that cannot be read or understood: an agent must not run without its promises.
    pub fn load(path: PathBuf) -> anyhow::Result<Self> {
        let remembered = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!(
                    "{} holds the agent's promises and cannot be understood; was it written by a newer version?",
                    path.display()
                )
            })?,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Remembered::default(),
            Err(why) => return Err(why).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self {
            path: Arc::new(path),
            current: Arc::new(std::sync::RwLock::new(Arc::new(remembered))),
            writing: Arc::new(Mutex::new(())),
        })
    }

    /// What is remembered now.
    pub fn get(&self) -> Arc<Remembered> {
        Arc::clone(&self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The claim that is stored, if there is one.
    pub fn claim(&self) -> Option<Claim> {
        self.get().record.as_ref().map(Record::claim)
    }

    /// Stores a record, unless it is older than the stored one. What this data had proved ends with a record in which it
    /// does not vote: nobody counts on what it remembers any more, so it has to prove itself before anybody does again.
    ///
    /// # Errors
    /// [`ChangeError`]
    pub async fn offer(&self, record: &Record, member: &str, incarnation: Option<Uuid>) -> Result<(), ChangeError> {
        self.change(|now| {
            record.may_replace(now.record.as_ref())?;
            let votes = incarnation.is_some() && record.incarnation_of(member) == incarnation;
            if !votes && now.record.as_ref() != Some(record) {
                now.proved = None;
            }
            now.record = Some(record.clone());
            Ok(())
        })
        .await
    }

    /// Changes something under a claim. The claim is checked in the same step, so that whoever stored a later
    /// one before knows that this did not happen, and whoever stores one afterwards sees that it did.
    ///
    /// # Errors
    /// [`ChangeError::Stale`] where another claim is stored meanwhile.
    pub async fn change_under(&self, claim: Claim, edit: impl FnOnce(&mut Remembered)) -> Result<(), ChangeError> {
        self.change(|now| {
            let stored = now.record.as_ref().map(Record::claim);
            match stored {
                Some(stored) if stored != claim => Err(StaleRecord::Claim { offered: claim, stored }),
                _ => {
                    edit(now);
                    Ok(())
                }
            }
        })
        .await
    }

    /// Changes something that no claim governs.
    ///
    /// # Errors
    /// [`ChangeError::Disk`]
    pub async fn change_own(&self, edit: impl FnOnce(&mut Remembered)) -> Result<(), ChangeError> {
        self.change(|now| {
            edit(now);
            Ok(())
        })
        .await
    }

    async fn change(&self, edit: impl FnOnce(&mut Remembered) -> Result<(), StaleRecord>) -> Result<(), ChangeError> {
        let _one_at_a_time = self.writing.lock().await;
        let before = self.get();
        let mut next = Remembered::clone(&before);
        edit(&mut next)?;
        if next == *before {
            return Ok(());
        }
        let text = serde_json::to_vec(&next).map_err(std::io::Error::other)?;
        let path = Arc::clone(&self.path);
        tokio::task::spawn_blocking(move || durable::write(&path, &text)).await.map_err(std::io::Error::other)??;
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }
}

impl Remembered {
    /// The epoch in which this data was last opened for writing.
    pub fn opened_epoch(&self, incarnation: Option<Uuid>) -> Option<u64> {
        self.opened_data(incarnation).map(|opened| opened.epoch)
    }

    /// Every server_uuid under which this data was ever opened for writing.
    pub fn opened_as(&self, incarnation: Option<Uuid>) -> Vec<Uuid> {
        self.opened_data(incarnation).map(|opened| opened.server_uuids.clone()).unwrap_or_default()
    }

    /// Remembers that this data is opened in an epoch, under a server_uuid.
    pub fn open(&mut self, epoch: u64, incarnation: Uuid, server_uuid: Uuid) {
        let mut server_uuids = self.opened_as(Some(incarnation));
        if let Err(place) = server_uuids.binary_search(&server_uuid) {
            server_uuids.insert(place, server_uuid);
        }
        self.opened = Some(Opened { epoch, incarnation, server_uuids });
    }

    /// Whether this data was opened for writing and has followed nobody since: its log may hold what nobody
    /// acknowledged.
    pub fn led_last(&self, incarnation: Option<Uuid>) -> bool {
        self.opened_data(incarnation).is_some() && self.following.is_none()
    }

    fn opened_data(&self, incarnation: Option<Uuid>) -> Option<&Opened> {
        self.opened.as_ref().filter(|opened| Some(opened.incarnation) == incarnation)
    }

    /// Whether this member may acknowledge: it votes with this data, is not being removed, and forgot nothing.
    pub fn may_acknowledge(&self, member: &str, incarnation: Option<Uuid>, boot_id: &str) -> bool {
        let Some(record) = &self.record else { return false };
        incarnation.is_some()
            && record.incarnation_of(member) == incarnation
            && record.may_acknowledge(member)
            && self.is_proved(incarnation, boot_id)
    }

    /// Whether this member is being removed.
    pub fn is_leaving(&self, member: &str) -> bool {
        self.record.as_ref().is_some_and(|record| record.leaving.as_deref() == Some(member))
    }

    /// Whether this data holds everything it ever acknowledged: it was proved complete, and the machine has not started
    /// anew since or could forget nothing by that. Whoever led last had executed everything before it opened, and
    /// its binary log is fsynced with every commit.
    pub fn is_proved(&self, incarnation: Option<Uuid>, boot_id: &str) -> bool {
        let proved = self.proved.as_ref().filter(|proved| Some(proved.incarnation) == incarnation);
        proved.is_some_and(|proved| proved.boot_id == boot_id || self.led_last(incarnation))
    }

    /// The source that this data may go on following without being told again: the record is the one under
    /// which it was given, and it is Serving.
    pub fn may_resume(&self, incarnation: Option<Uuid>) -> Option<&Endpoint> {
        let record = self.record.as_ref().filter(|record| record.phase == Phase::Serving)?;
        let following = self.following.as_ref()?;
        let same_reign = following.claim.epoch == record.epoch;
        (same_reign && following.source.member == record.primary && Some(following.incarnation) == incarnation)
            .then_some(&following.source)
    }

    /// The same for a read replica, which follows a member that votes and, where others acknowledge, does not lead.
    pub fn may_read_on(&self, incarnation: Option<Uuid>) -> Option<&Following> {
        let record = self.record.as_ref().filter(|record| record.phase == Phase::Serving)?;
        let following = self.following.as_ref()?;
        let source = following.source.member.as_str();
        let fit = record.incarnation_of(source).is_some() && (source != record.primary || record.members.len() == 1);
        (fit && following.claim.epoch == record.epoch && Some(following.incarnation) == incarnation)
            .then_some(following)
    }
}

#[cfg(test)]
mod tests {
    use topology::record::Member;

    use super::*;

    /// Remembers a record of so many members, led by shop-0, and a source given under it.
    fn remembering(members: u32, source: &str) -> Remembered {
        let named = |ordinal: u32| Member { name: format!("shop-{ordinal}"), incarnation: Uuid::nil() };
        let record = Record {
            epoch: 3,
            phase: Phase::Serving,
            generation: 1,
            primary_since_epoch: 3,
            members: (0..members).map(named).collect(),
            ..Record::first("shop-0".to_owned())
        };
        let source = Endpoint { member: source.to_owned(), host: "10.0.0.1".to_owned(), server_uuid: Uuid::nil() };
        let following = Following { source, claim: record.claim(), incarnation: Uuid::nil(), delay_s: 0 };
        Remembered { record: Some(record), following: Some(following), ..Remembered::default() }
    }

    #[test]
    fn a_read_replica_goes_on_by_itself_with_a_replica_or_the_only_member() {
        let goes_on = |remembered: &Remembered| remembered.may_read_on(Some(Uuid::nil())).is_some();
        assert!(goes_on(&remembering(3, "shop-1")));
        assert!(goes_on(&remembering(1, "shop-0")));
        assert!(!goes_on(&remembering(3, "shop-0")), "it would take what nobody has acknowledged");
        assert!(!goes_on(&remembering(3, "shop-7")), "that one votes no more");
        let mut later = remembering(3, "shop-1");
        later.record.as_mut().unwrap().epoch = 4;
        assert!(!goes_on(&later), "another may lead now");
        assert!(remembering(3, "shop-1").may_read_on(Some(Uuid::max())).is_none(), "other data");
    }
}
