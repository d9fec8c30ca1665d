//! Stopping the receiver, and not for longer than it takes.
//!
//! It must never interrupt a receiver that is connected: what it was reading would be read again.

use std::time::Duration;

use crate::member::Member;
use crate::sql::replication;
use crate::sql::{Session, SqlError};

/// How long a receiver may take to stop before its attempt to connect is interrupted, and again after that.
const NUDGE: Duration = Duration::from_millis(10);

/// Stops the receiver. What was received stays, and the applier goes on.
///
/// A receiver that tries to reach a machine without power waits in `connect` for `replica_net_timeout`, and mysqld
/// interrupts it only every two seconds. The same signal, sent sooner, ends the attempt: 1.03 s become 0.04 s.
///
/// # Errors
/// [`SqlError`]; [`SqlError::Late`] after [`replication::STOP_RECEIVER`].
pub async fn stop(member: &Member, session: &mut Session) -> Result<(), SqlError> {
    let Some(thread) = replication::connecting_thread(session).await? else {
        return replication::stop_receiver(session).await;
    };
    let stopping = replication::stop_receiver(session);
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            stopped = &mut stopping => return stopped,
            () = tokio::time::sleep(NUDGE) => member.supervisor.interrupt(thread).await,
        }
    }
}
