//! One look at one drill, and what follows from it.

use std::sync::Arc;

use backup::drill::{End, Next, Proof, next};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::PostParams;
use objects::api::{DrillProof, DrillResult, DrillStatus, MysqlCluster, MysqlOperation};
use objects::drill::throw_away;
use topology::gtid::GtidSet;
use wire::{CheckAsk, CheckOrder};

use super::observe::{Made, Subject, seconds_to_recover};
use super::tell;
use crate::Context;

/// Looks, and does what is next.
pub async fn look(context: &Context, drill: Arc<MysqlOperation>) {
    let subject = match Subject::of(context, &drill) {
        Ok(subject) => subject,
        // Nobody waits for a cluster that may never come.
        Err(why) => return tell::ended(context, &drill, None, inconclusive(why)).await,
    };
    let (seen, made) = match subject.observe(context, &drill).await {
        Ok(observed) => observed,
        Err(why) => return tell::running(context, &drill, None, &why).await,
    };
    let order = |at_least: GtidSet| CheckAsk::Begin(Box::new(CheckOrder { id: subject.id.clone(), at_least }));
    let instance = made.as_ref().map(|made| made.name_any());
    let told = match next(&seen) {
        Next::CheckSource { choice, at_least } => {
            let member = &choice.member;
            let begun = subject.ask_source(context, member, order(at_least)).await;
            let cost = choice.warning.map(|warning| format!("; {warning}")).unwrap_or_default();
            match begun {
                Ok(()) => format!("reading what {member} holds: {}{cost}", choice.because),
                Err(why) => format!("{member}: {why}"),
            }
        }
        Next::Make { path, gtids } => {
            // Nothing is wrong with a backup whose key is kept elsewhere.
            if let Err(why) = subject.can_open(context).await {
                return tell::ended(context, &drill, Some(&subject.cluster), inconclusive(why)).await;
            }
            match make(context, &subject, &path, gtids).await {
                Ok(()) => format!("recovering from {path}"),
                Err(why) => why,
            }
        }
        Next::CheckInstance => match subject.ask_instance(context, order(GtidSet::new())).await {
            Ok(()) => "reading what was restored".to_owned(),
            Err(why) => format!("the throw-away cluster: {why}"),
        },
        Next::Tell(what) => what,
        Next::End(end) => {
            return tell::ended(context, &drill, Some(&subject.cluster), status(&drill, &made, end)).await;
        }
    };
    tell::running(context, &drill, instance, &told).await;
}

async fn make(context: &Context, subject: &Subject, path: &str, gtids: Option<GtidSet>) -> Result<(), String> {
    let gtids = gtids.map(|gtids| gtids.to_string());
    let made = throw_away(&subject.cluster, &subject.id, path, gtids.as_deref());
    let made = made.ok_or("the cluster has no spec.backup.store any more")?;
    let clusters: Api<MysqlCluster> = Api::namespaced(context.client.clone(), &subject.key.namespace);
    match clusters.create(&PostParams::default(), &made).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(why) => Err(format!("the throw-away cluster could not be made: {why}")),
    }
}

fn inconclusive(message: String) -> DrillStatus {
    DrillStatus {
        at: Some(Time(Timestamp::now())),
        result: Some(DrillResult::Inconclusive),
        message: Some(message),
        ..DrillStatus::default()
    }
}

/// What is to be told of a drill that has come to an end.
fn status(drill: &MysqlOperation, made: &Made, end: End) -> DrillStatus {
    let known = drill.status.as_ref().and_then(|status| status.drill.clone()).unwrap_or_default();
    let recovery = made.as_ref().and_then(|made| made.spec.bootstrap.as_ref()?.recovery.as_ref());
    let backup = recovery.and_then(|recovery| recovery.path.clone());
    let of = |result, message| DrillStatus {
        instance: made.as_ref().map(|made| made.name_any()).or_else(|| known.instance.clone()),
        backup: backup.clone(),
        result: Some(result),
        ..inconclusive(message)
    };
    let seconds_to_recover = made.as_ref().and_then(|made| seconds_to_recover(made));
    match end {
        End::Inconclusive(why) => of(DrillResult::Inconclusive, format!("nothing was found out: {why}")),
        End::Failed(why) => DrillStatus { seconds_to_recover, ..of(DrillResult::Failed, why) },
        End::Succeeded(proof) => {
            let message = said(&proof, seconds_to_recover);
            let number = |number: u64| i64::try_from(number).ok();
            DrillStatus {
                proof: Some(if proof.with.is_some() { DrillProof::Compared } else { DrillProof::Read }),
                seconds_to_recover,
                tables: number(proof.tables),
                rows: number(proof.rows),
                ..of(DrillResult::Succeeded, message)
            }
        }
    }
}

fn said(proof: &Proof, seconds: Option<i64>) -> String {
    let Proof { with, tables, rows } = proof;
    let took = seconds.map(|seconds| format!("recovered in {seconds} s; ")).unwrap_or_default();
    match with {
        Some(member) => format!("{took}{tables} tables with {rows} rows are what they are on {member}"),
        None => format!(
            "{took}every one of {rows} rows in {tables} tables can be read; there is no archive to compare them by"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_proved_is_told_and_what_was_not_is_not() {
        let drill: MysqlOperation = serde_json::from_value(serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlOperation", "metadata": { "name": "d" },
            "spec": { "cluster": "shop", "type": "Drill" }, "status": { "drill": { "instance": "shop-drill-4be0643f" } },
        }))
        .unwrap();
        let made: MysqlCluster = serde_json::from_value(serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster",
            "metadata": { "name": "shop-drill-4be0643f", "creationTimestamp": "2026-11-27T05:00:00Z" },
            "spec": { "storage": { "size": "1Gi" }, "bootstrap": { "recovery": { "path": "store/shop/full/1" } } },
            "status": { "conditions": [{
                "type": "PrimaryAvailable", "status": "True", "reason": "Serving", "message": "",
                "lastTransitionTime": "2026-11-27T05:00:42Z",
            }] },
        }))
        .unwrap();
        let made = Some(Arc::new(made));
        let proof = Proof { with: Some("shop-2".to_owned()), tables: 3, rows: 12 };
        let told = status(&drill, &made, End::Succeeded(proof));
        assert_eq!((told.proof, told.seconds_to_recover, told.tables), (Some(DrillProof::Compared), Some(42), Some(3)));
        assert_eq!(
            told.message.as_deref(),
            Some("recovered in 42 s; 3 tables with 12 rows are what they are on shop-2")
        );
        assert_eq!(told.backup.as_deref(), Some("store/shop/full/1"));
        let told = status(&drill, &None, End::Failed("somebody removed it".to_owned()));
        assert_eq!((told.proof, told.instance.as_deref()), (None, Some("shop-drill-4be0643f")));
    }
}
