//! Questions of a size: the largest built-in one, with what it has several of repeated under names of their own.

use engine::DecisionKind;
use topology::{backup_window, decision, scaling, tuning};

/// A decision whose questions can be had in any size.
pub trait Sized: DecisionKind {
    /// A question of so many.
    fn of_size(size: usize) -> Option<Self>;
}

/// So many, like the first and then like the others in turn.
fn repeated<T: Clone>(all: &[T], size: usize, rename: impl Fn(usize, &mut T)) -> Vec<T> {
    let likes = all.iter().take(1).chain(all.iter().skip(1).cycle());
    let one = |(number, like): (usize, &T)| {
        let mut one = like.clone();
        rename(number, &mut one);
        one
    };
    (0..size).zip(likes).map(one).collect()
}

impl Sized for decision::Question {
    /// A failover among so many members.
    fn of_size(size: usize) -> Option<Self> {
        let (_, mut question) = Self::rehearsals().into_iter().max_by_key(|(_, question)| {
            // The healthiest of the largest: most to choose from.
            (question.candidates.len(), question.candidates.iter().filter(|one| one.is_eligible()).count())
        })?;
        question.candidates = repeated(&question.candidates, size, |number, candidate| {
            candidate.name = format!("shop-{number}");
            candidate.ordinal = u32::try_from(number).unwrap_or(u32::MAX);
            candidate.node = format!("node-{number}");
        });
        question.candidates.sort_by(|a, b| a.name.cmp(&b.name));
        Some(question)
    }
}

impl Sized for scaling::Question {
    /// A cluster of so many servers.
    fn of_size(size: usize) -> Option<Self> {
        let (_, mut question) = Self::rehearsals().into_iter().max_by_key(|(_, question)| question.servers.len())?;
        question.servers = repeated(&question.servers, size, |number, server| server.name = format!("shop-{number}"));
        Some(question)
    }
}

impl Sized for tuning::Question {
    /// A server with so many settings.
    fn of_size(size: usize) -> Option<Self> {
        let (_, mut question) =
            Self::rehearsals().into_iter().max_by_key(|(_, question)| question.present.settings.len())?;
        let known = question.present.settings.len();
        question.present.settings = repeated(&question.present.settings, size, |number, setting| {
            if number >= known {
                setting.name = format!("setting_{number}");
            }
        });
        question.present.settings.sort_by(|a, b| a.name.cmp(&b.name));
        Some(question)
    }
}

impl Sized for backup_window::Question {
    /// A backup of a cluster of so many servers.
    fn of_size(size: usize) -> Option<Self> {
        let (_, mut question) = Self::rehearsals().into_iter().max_by_key(|(_, question)| question.servers.len())?;
        question.servers = repeated(&question.servers, size, |number, server| server.name = format!("shop-{number}"));
        Some(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_have_the_size_that_the_table_says() {
        for size in [3, 7, 9, 100] {
            let question = decision::Question::of_size(size).unwrap();
            assert_eq!(question.candidates.len(), size);
            assert_eq!(question.candidates.iter().filter(|one| one.is_eligible()).count(), size - 1);
            assert!(question.candidates.is_sorted_by(|a, b| a.name < b.name));
            assert_eq!(scaling::Question::of_size(size).unwrap().servers.len(), size);
            assert_eq!(backup_window::Question::of_size(size).unwrap().servers.len(), size);
            assert_eq!(tuning::Question::of_size(size).unwrap().present.settings.len(), size);
        }
    }
}
