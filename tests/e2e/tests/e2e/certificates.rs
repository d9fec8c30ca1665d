//! Certificates that are about to run out.

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, WHOLE, world};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kit::{Operator, eventually};
use kube::Api;
use kube::api::{Patch, PatchParams};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, date_time_ymd};

/// A certificate of this authority that will be good for one more day.
fn almost_over(authority: &Secret, common_name: &str) -> Result<(String, String)> {
    let issuer =
        Issuer::from_ca_cert_pem(&text(authority, "ca.crt")?, KeyPair::from_pem(&text(authority, "ca.key")?)?)?;
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let at = |date: jiff::civil::Date| {
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let mut params = CertificateParams::new([common_name.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) =
        (at(today.saturating_sub(jiff::Span::new().days(300))), at(today.saturating_add(jiff::Span::new().days(1))));
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
}

fn text(secret: &Secret, key: &str) -> Result<String> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).with_context(|| format!("no {key}"))?;
    Ok(String::from_utf8(bytes.0.clone())?)
}

#[test]
fn a_certificate_is_renewed_before_it_runs_out_and_nothing_restarts() {
    world().run(async |cluster| {
        let before = cluster.fingerprints().await?;
        let secrets: Api<Secret> = Api::namespaced(cluster.env().client(), NAMESPACE);
        let authority = secrets.get("pool-ca").await?;
        let (old, key) = almost_over(&authority, "operator")?;
        let data = serde_json::json!({ "data": {
            "tls.crt": ByteString(old.clone().into_bytes()),
            "tls.key": ByteString(key.into_bytes()),
        }});
        secrets.patch("pool-operator", &PatchParams::default(), &Patch::Merge(data)).await?;
        let renewed = eventually("the certificate to be renewed", WHOLE, || async {
            let secret = secrets.get("pool-operator").await?;
            Ok((text(&secret, "tls.crt")? != old).then_some(secret))
        })
        .await?;
        ensure!(text(&renewed, "ca.crt")? == text(&authority, "ca.crt")?, "another authority signed it");
        // An operator that begins now knows nothing but the renewed one, and agents take it.
        let operator = Operator::of(cluster.env());
        operator.delete_pod(&operator.leader().await?).await?;
        operator.scale(2).await?;
        cluster.wait_serving(3, WHOLE).await?;
        ensure!(cluster.fingerprints().await? == before, "a member was restarted");
        Ok(())
    });
}
