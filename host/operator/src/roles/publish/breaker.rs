//! Tells of a policy that failed too often: once when it is asked no more, once when it is asked again.

use jiff::Timestamp;
use kube::runtime::events::EventType;
use objects::api::{MysqlCluster, MysqlClusterStatus};

use super::Publisher;

impl Publisher {
    /// An Event for each change, whatever brought it about: an answer, or another module.
    pub(super) async fn tell_breaker(&mut self, object: &MysqlCluster, status: &MysqlClusterStatus) {
        let Some(policies) = &status.policies else { return };
        let each = [&policies.primary_selection, &policies.scaling, &policies.config_tuning, &policies.backup_window];
        for (place, policy) in each.into_iter().enumerate() {
            let open = policy.as_ref().is_some_and(|policy| policy.breaker.is_some());
            let told = std::mem::replace(&mut self.told_open[place], open);
            let Some(policy) = policy.as_ref().filter(|_| open != told) else { continue };
            let (type_, reason, note) = match &policy.breaker {
                Some(why) => (EventType::Warning, "PolicyBreakerOpened", why.clone()),
                None => {
                    (EventType::Normal, "PolicyBreakerClosed", format!("{} {} is asked", policy.name, policy.version))
                }
            };
            let occasion = format!("Of{place}At{}", Timestamp::now().as_second());
            self.event(object, type_, reason, &occasion, note).await;
        }
    }
}
