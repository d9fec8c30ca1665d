//! Builds `most-advanced` from the tree and puts it where the engine embeds it from.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let component = engine::build::policy("most-advanced")?;
    let packed = engine::build::pack(&component)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded/most-advanced.wasm.zst");
    std::fs::write(&path, &packed)?;
    println!("{}: {} bytes, {} packed", path.display(), component.len(), packed.len());
    Ok(())
}
