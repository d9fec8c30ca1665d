//! `policy history`: what a cluster can go back to.

use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use objects::api::policy;

use super::copies::Copy;
use crate::site::Target;
use crate::status::ago;
use crate::style::{Style, Tone};

/// Whose history to show.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the MysqlCluster.
    cluster: String,
    /// What the modules decide.
    #[arg(long, default_value = policy::PRIMARY_SELECTION, value_parser = super::decision)]
    decision: String,
    #[command(flatten)]
    target: Target,
}

/// Shows a cluster's former policies.
///
/// # Errors
/// There is no such cluster, or the API server could not be asked.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let site = arguments.target.connect().await?;
    let cluster = site.cluster(&arguments.cluster).await?;
    let copies = Copy::of(&site, &cluster, &arguments.decision).await?;
    if copies.is_empty() {
        eprintln!(
            "no module but the embedded one has been in force in {} for {}",
            arguments.cluster, arguments.decision
        );
        return Ok(ExitCode::SUCCESS);
    }
    std::io::stdout().lock().write_all(told(&copies, Timestamp::now(), Style::of_stdout()).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn told(copies: &[Copy], now: Timestamp, style: Style) -> String {
    let mut table = style.table();
    let headings = ["IN FORCE SINCE", "MODULE", "DIGEST", "SIGNED", "SETTINGS", "FROM"];
    table.set_header(headings.into_iter().map(|heading| style.cell(heading, Tone::Quiet)));
    for copy in copies {
        let since = copy.since.map_or_else(|| "unknown".to_owned(), |since| ago(now, since));
        table.add_row([
            style.cell(since, Tone::Plain),
            style.cell(&copy.module, Tone::Plain),
            style.cell(copy.digest.chars().take("sha256:".len() + 12).collect::<String>(), Tone::Plain),
            style.cell(if copy.signature.is_some() { "yes" } else { "no" }, Tone::Plain),
            style.cell(&copy.settings, Tone::Plain),
            style.cell(&copy.source, Tone::Quiet),
        ]);
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_were_in_force_are_listed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let copy = |module: &str, since, signature: Option<&str>| Copy {
            name: format!("shop-policy-{module}"),
            module: format!("{module} 0.1.0"),
            digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            signature: signature.map(ToOwned::to_owned),
            settings: serde_json::json!({"zones": ["a"]}),
            source: "ConfigMap zones key policy.wasm.zst".to_owned(),
            since,
        };
        let copies = [copy("zones", Some(at(990)), Some("sig")), copy("older", None, None)];
        insta::assert_snapshot!(told(&copies, at(1_000), Style { colour: false, width: None }));
    }
}
