//! Removes what [`crate::retention`] says, in an order in which nothing that is left ever looks whole and is not.
//!
//! Backups go before segments, the oldest first, each with its manifest before all else; segments go from the beginning
//! of the archive upwards, one after the other, each with its entry before its bytes. So whatever is ended in the middle
//! leaves objects that nothing names, and the next one that sweeps finds them. The newest segment never goes: with it the
//! archive would forget how far it is.

use crate::archive::Archive;
use crate::error::Error;
use crate::layout;
use crate::manifest::Origin;
use crate::retention::{Plan, Seen};
use crate::store::Store;
use crate::survey::Survey;

/// What was removed.
#[derive(Debug, Default)]
pub struct Swept {
    /// The names of backups that were.
    pub fulls: Vec<String>,
    /// How many things were that had never been finished.
    pub unfinished: usize,
    /// How many segments were.
    pub segments: u64,
    /// How many objects these were together.
    pub objects: usize,
    /// Whether there is more to remove.
    pub more: bool,
    /// Why it ended early, if it did.
    pub problem: Option<Error>,
}

/// Removes what the plan says of what was surveyed. Once `most` objects are gone nothing further is begun.
pub async fn sweep(store: &Store, own: &Origin, survey: &Survey, plan: &Plan, most: usize) -> Swept {
    let mut swept = Swept::default();
    let problem = match fulls(store, own, survey, plan, most, &mut swept).await {
        Ok(()) if !swept.more => segments(store, own, survey, plan, most, &mut swept).await,
        other => other,
    };
    swept.problem = problem.err();
    swept
}

async fn fulls(
    store: &Store,
    own: &Origin,
    survey: &Survey,
    plan: &Plan,
    most: usize,
    swept: &mut Swept,
) -> Result<(), Error> {
    let below = layout::fulls(&format!("{}/{}", own.namespace, own.name));
    for name in plan.removals() {
        if swept.objects >= most {
            swept.more = true;
            break;
        }
        let path = format!("{below}/{name}");
        match survey.sight.fulls.iter().find(|(found, _)| found == name).map(|(_, seen)| seen) {
            Some(Seen::Whole(whole)) if whole.origin == *own => {
                swept.objects += store.remove_full(&path, &whole.sum).await?;
                swept.fulls.push(name.to_owned());
            }
            Some(Seen::Unfinished { .. }) => {
                swept.objects += store.remove_unfinished(&path).await?;
                swept.unfinished += 1;
            }
            Some(Seen::Whole(_) | Seen::Unreadable(_)) | None => {}
        }
    }
    Ok(())
}

async fn segments(
    store: &Store,
    own: &Origin,
    survey: &Survey,
    plan: &Plan,
    most: usize,
    swept: &mut Swept,
) -> Result<(), Error> {
    let (Some(cut), Some(there)) = (&plan.archive, survey.sight.segments) else { return Ok(()) };
    let archive = Archive::at(store.clone(), &layout::log(&own.namespace, &own.name, &own.uid))?;
    let from = cut.from.min(there.newest);
    let mut bytes = Vec::new();
    // An entry sorts before the bytes of its segment: its name begins with a digit.
    for (number, name) in survey.objects.iter().filter(|(number, _)| *number < from) {
        if swept.objects + bytes.len() >= most {
            swept.more = true;
            break;
        }
        let object = format!("{}/{name}", archive.path());
        if layout::log_sequence(name).is_some() {
            store.remove(&[object]).await?;
            (swept.objects, swept.segments) = (swept.objects + 1, swept.segments + 1);
        } else if layout::log_data_sequence(name) == Some(*number) {
            bytes.push(object);
        }
    }
    store.remove(&bytes).await?;
    swept.objects += bytes.len();
    swept.more |= swept.segments < cut.removed;
    Ok(())
}

#[cfg(test)]
mod tests;
