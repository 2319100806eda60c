//! Carries the example policies into the binary, so that `signet-ca dev` needs no files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let missing = |name| io::Error::other(format!("cargo did not set {name}"));
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR").ok_or_else(|| missing("CARGO_MANIFEST_DIR"))?);
    let out = PathBuf::from(variable("OUT_DIR").ok_or_else(|| missing("OUT_DIR"))?);
    let root = manifest.join("../policies");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut code = String::from(
        "/// The example policies: path below `policies/`, text.\nconst EXAMPLE_POLICIES: &[(&str, &str)] = &[\n",
    );
    for file in files {
        let name = file
            .strip_prefix(&root)
            .map_err(io::Error::other)?
            .display()
            .to_string();
        writeln!(code, "    ({name:?}, include_str!({:?})),", file.display().to_string()).map_err(io::Error::other)?;
    }
    code.push_str("];\n");
    fs::write(out.join("example_policies.rs"), code)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    write_line(&format!("cargo::rerun-if-changed={}", folder.display()))?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|kind| ["toml", "cedar", "json"].iter().any(|known| kind == *known))
        {
            files.push(path);
        }
    }
    Ok(())
}

fn write_line(line: &str) -> io::Result<()> {
    use io::Write as _;
    writeln!(io::stdout(), "{line}")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a build script's parameters come by the environment"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
