//! A policy that says when backups are made.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::cluster::{ModuleSource, PolicyMode};
use super::schema;

/// A module that says whether a backup that is due by the schedule may begin now. It can have it wait, and cannot keep it
/// from being made; nobody asks it about a backup that a person asked for, nor about one that the archive needs.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupWindowPolicy {
    /// Where the module is. Without one that can be loaded backups begin when they are due.
    pub module: ModuleSource,
    /// Settings, checked by the module itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_object")]
    pub settings: Option<serde_json::Value>,
    /// `Enforce`, which is also the default: backups wait when it says so. `Shadow`: what it says is shown, journalled and
    /// not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// How long a backup may wait, as in `90m`: then it begins. It never waits until the next one is due, either. `6h` if
    /// not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}(s|m|h))+$')").message(
        "spec.policies.backupWindow.maxPostpone: must be a duration in whole seconds such as 90m or 6h"
    ))]
    pub max_postpone: Option<String>,
}
