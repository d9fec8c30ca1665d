//! Tells of a policy that failed too often: once when it is asked no more, once when it is asked again.

use jiff::Timestamp;
use kube::runtime::events::EventType;
use objects::api::{MysqlCluster, MysqlClusterStatus};

use super::Publisher;

impl Publisher {
    /// An Event for each change, whatever brought it about: an answer, or another module.
    pub(super) async fn tell_breaker(&mut self, object: &MysqlCluster, status: &MysqlClusterStatus) {
        let policy = status.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref());
        let Some(policy) = policy.filter(|policy| policy.breaker.is_some() != self.told_open) else { return };
        self.told_open = policy.breaker.is_some();
        let (type_, reason, note) = match &policy.breaker {
            Some(why) => (EventType::Warning, "PolicyBreakerOpened", why.clone()),
            None => (EventType::Normal, "PolicyBreakerClosed", format!("{} {} is asked", policy.name, policy.version)),
        };
        let occasion = format!("At{}", Timestamp::now().as_second());
        self.event(object, type_, reason, &occasion, note).await;
    }
}
