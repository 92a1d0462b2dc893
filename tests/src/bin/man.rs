//! `cargo man`: writes the manual pages anew, into the folder `man/`.
//! Does not: install them.
//! Used by: whoever changed a help text, docs/reference.md or PROTOCOL.md, when the test of the pages says so.

use std::{fs, path::Path};

fn main() -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../man");
    for (name, text) in rally_cred_tests::man::pages()? {
        fs::write(folder.join(name), text).map_err(|err| format!("{name}: {err}"))?;
    }
    Ok(())
}
