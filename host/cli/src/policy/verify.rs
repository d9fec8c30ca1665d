//! `policy verify`: who signed a module, without running any of it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use engine::{Demand, PublicKey, module_digest};
use objects::api::policy;

/// What to verify against what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component, plain or packed.
    file: PathBuf,
    /// A file with public keys in PEM; may be given several times.
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// The signature, in base64.
    #[arg(long)]
    signature: String,
    /// What the module is to decide.
    #[arg(long, default_value = policy::PRIMARY_SELECTION, value_parser = super::decision)]
    decision: String,
}

/// Verifies a signature as the operator does.
///
/// # Errors
/// It is not good; the keys that were tried are named.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { file, keys: files, signature, decision } = arguments;
    let bytes = std::fs::read(file).with_context(|| format!("{} could not be read", file.display()))?;
    let digest = module_digest(&bytes).with_context(|| file.display().to_string())?;
    let mut keys = Vec::new();
    for path in files {
        keys.extend(PublicKey::read_all(&super::read_text(path)?).with_context(|| path.display().to_string())?);
    }
    let demand = Demand { decision: decision.clone(), signature: Some(signature.clone()), keys, ..Demand::default() };
    let vouched = demand.check(&digest).with_context(|| file.display().to_string())?;
    println!("{} ({digest}) is signed for {decision} by key {}", file.display(), vouched.by.unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}
