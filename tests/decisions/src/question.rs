//! The questions that are asked: a failover among so many members, as the operator would ask it.

use engine::built_in_questions;
use topology::decision::Question;

/// A failover among so many members: the largest rehearsal with the most to choose from, its members repeated under
/// names of their own.
pub fn failover(members: u32) -> Option<Question> {
    let (_, mut question) = built_in_questions().into_iter().max_by_key(|(_, question)| {
        (question.candidates.len(), question.candidates.iter().filter(|one| one.is_eligible()).count())
    })?;
    let known = std::mem::take(&mut question.candidates);
    let (first, others) = known.split_first()?;
    question.namespace = "default".to_owned();
    question.candidates = (0..members)
        .zip(std::iter::once(first).chain(others.iter().cycle()))
        .map(|(ordinal, like)| {
            let (name, node) = (format!("shop-{ordinal}"), format!("node-{ordinal}"));
            topology::decision::Candidate { name, ordinal, node, ..like.clone() }
        })
        .collect();
    question.candidates.sort_by(|one, other| one.name.cmp(&other.name));
    Some(question)
}
