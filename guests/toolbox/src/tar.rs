//! `tar`: archives in the format of ustar, with GNU's and POSIX' ways of writing long names.
//!
//! Files, directories and links; no owners, since WASI has none. What is unpacked stays below its directory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::{Outcome, walk};

const BLOCK: usize = 512;
/// The longest name that is read.
const LONGEST_NAME: u64 = 64 * 1024;

/// `cf - PATH…` and `xf - [-C DIR]`, in the spellings that clients use.
pub fn run(arguments: &[String]) -> Outcome {
    let (mut create, mut extract, mut directory) = (false, false, PathBuf::new());
    let mut paths = Vec::new();
    let mut words = arguments.iter().enumerate();
    while let Some((index, word)) = words.next() {
        match word.as_str() {
            "-C" => directory = words.next().ok_or("-C wants a directory")?.1.into(),
            "-" => {}
            "--no-same-permissions" | "--no-same-owner" => {}
            "--" => paths.extend(words.by_ref().map(|(_, word)| word.clone())),
            flags if index == 0 || flags.starts_with('-') => {
                for flag in flags.trim_start_matches('-').chars() {
                    match flag {
                        'c' => create = true,
                        'x' => extract = true,
                        'f' | 'm' | 'p' | 'o' => {}
                        other => return Err(format!("unknown option {other:?}")),
                    }
                }
            }
            path => paths.push(path.to_owned()),
        }
    }
    match (create, extract) {
        (true, false) if paths.is_empty() => Err("nothing to archive".to_owned()),
        (true, false) => pack(&paths, &directory),
        (false, true) => unpack(&directory),
        _ => Err("one of c and x".to_owned()),
    }
}

fn pack(paths: &[String], directory: &Path) -> Outcome {
    let mut out = io::BufWriter::with_capacity(16 * 1024, io::stdout());
    let mut failed = 0;
    for path in paths {
        let path = directory.join(path);
        if let Err(error) = add(&mut out, &path) {
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Err(error.to_string());
            }
            eprintln!("tar: {}: {error}", path.display());
            failed = 2;
        }
    }
    // Without an end where something is missing: who reads the archive waits for the exit code then.
    let end: &[u8] = if failed == 0 { &[0; 2 * BLOCK] } else { &[] };
    let end = out.write_all(end).and_then(|()| out.flush());
    end.map_err(|error| error.to_string())?;
    Ok(failed)
}

/// Adds what is at a path, and what is below it.
fn add(out: &mut impl Write, path: &Path) -> io::Result<()> {
    // A directory that is mounted has no entry in one above it: it is looked at as itself.
    let found = fs::symlink_metadata(path).or_else(|_| fs::metadata(path))?;
    let mut name = path.display().to_string().trim_start_matches('/').to_owned();
    let seconds = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let seconds = seconds.map_or(0, |time| time.as_secs());
    if found.is_dir() {
        if !name.is_empty() {
            name.push('/');
            entry(out, &Head { name: &name, kind: b'5', mode: 0o755, size: 0, seconds, link: "" })?;
        }
        for (below, _) in walk::list(path)? {
            add(out, &path.join(below))?;
        }
    } else if found.is_symlink() {
        let link = fs::read_link(path)?.display().to_string();
        entry(out, &Head { name: &name, kind: b'2', mode: 0o777, size: 0, seconds, link: &link })?;
    } else {
        let file = File::open(path)?;
        let size = found.len();
        entry(out, &Head { name: &name, kind: b'0', mode: 0o644, size, seconds, link: "" })?;
        // As long as it was said to be, whatever becomes of the file meanwhile.
        let copied = io::copy(&mut file.take(size), out)?;
        io::copy(&mut io::repeat(0).take(size - copied), out)?;
        pad(out, size)?;
    }
    Ok(())
}

struct Head<'a> {
    name: &'a str,
    kind: u8,
    mode: u64,
    size: u64,
    seconds: u64,
    link: &'a str,
}

/// Writes an entry's head; names that do not fit come before it, as GNU writes them.
fn entry(out: &mut impl Write, head: &Head<'_>) -> io::Result<()> {
    for (text, kind) in [(head.link, b'K'), (head.name, b'L')] {
        if text.len() > 100 {
            let size = text.len() as u64 + 1;
            let long = Head { name: "././@LongLink", kind, mode: 0o644, size, seconds: 0, link: "" };
            out.write_all(&header(&long))?;
            out.write_all(text.as_bytes())?;
            out.write_all(&[0])?;
            pad(out, size)?;
        }
    }
    out.write_all(&header(head))
}

fn header(head: &Head<'_>) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, most: usize, bytes: &[u8]| {
        let length = bytes.len().min(most);
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, 100, head.name.as_bytes());
    put(100, 8, format!("{:07o}", head.mode).as_bytes());
    put(108, 8, b"0000000");
    put(116, 8, b"0000000");
    match head.size < 1 << 33 {
        true => put(124, 12, format!("{:011o}", head.size).as_bytes()),
        // As GNU writes what has no room in octal.
        false => {
            put(124, 1, &[0x80]);
            put(128, 8, &head.size.to_be_bytes());
        }
    }
    put(136, 12, format!("{:011o}", head.seconds).as_bytes());
    put(148, 8, b"        ");
    put(156, 1, &[head.kind]);
    put(157, 100, head.link.as_bytes());
    put(257, 8, b"ustar\x0000");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let rest = (size % BLOCK as u64) as usize;
    if rest == 0 { Ok(()) } else { out.write_all(&[0; BLOCK][rest..]) }
}

fn unpack(directory: &Path) -> Outcome {
    let mut input = io::stdin().lock();
    let mut long = Long::default();
    loop {
        let mut block = Vec::new();
        (&mut input).take(BLOCK as u64).read_to_end(&mut block).map_err(|error| error.to_string())?;
        if block.is_empty() {
            return Ok(0);
        }
        let block: [u8; BLOCK] = block.try_into().map_err(|_| "unexpected end of the archive")?;
        if block.iter().all(|byte| *byte == 0) {
            // What follows is padding; the other side waits until it is taken.
            io::copy(&mut input, &mut io::sink()).map_err(|error| error.to_string())?;
            return Ok(0);
        }
        let found = Found::read(&block, &mut long)?;
        let size = found.size;
        let mut content = (&mut input).take(size);
        match found.kind {
            b'L' | b'K' | b'x' => long.take(found.kind, &mut content)?,
            b'g' => {}
            _ => {
                let name = found.name.clone();
                place(directory, found, &mut content).map_err(|error| format!("{name}: {error}"))?;
                long = Long::default();
            }
        }
        io::copy(&mut content, &mut io::sink()).map_err(|error| error.to_string())?;
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        let skipped = io::copy(&mut (&mut input).take(padding), &mut io::sink());
        skipped.map_err(|error| error.to_string())?;
    }
}

/// What came before an entry because it has no room in its head.
#[derive(Default)]
struct Long {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Long {
    fn take(&mut self, kind: u8, content: &mut impl Read) -> Result<(), String> {
        let mut bytes = Vec::new();
        content.take(LONGEST_NAME).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match kind {
            b'L' => self.name = Some(text.trim_end_matches('\0').to_owned()),
            b'K' => self.link = Some(text.trim_end_matches('\0').to_owned()),
            _ => {
                // `<length> <key>=<value>\n`; values may contain line feeds, which names here may not.
                for record in text.lines() {
                    let Some((key, value)) =
                        record.split_once(' ').and_then(|(_, pair)| pair.split_once('='))
                    else {
                        continue;
                    };
                    match key {
                        "path" => self.name = Some(value.to_owned()),
                        "linkpath" => self.link = Some(value.to_owned()),
                        "size" => self.size = value.parse().ok(),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

struct Found {
    name: String,
    link: String,
    kind: u8,
    size: u64,
}

impl Found {
    fn read(block: &[u8; BLOCK], long: &mut Long) -> Result<Found, String> {
        let text = |at: usize, length: usize| {
            let field = &block[at..at + length];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        let octal = |at: usize, length: usize| {
            let digits = text(at, length);
            u64::from_str_radix(digits.trim(), 8).map_err(|_| "this does not look like a tar archive")
        };
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        if octal(148, 8)? != sum {
            return Err("this does not look like a tar archive".to_owned());
        }
        let kind = block[156];
        let mut name = text(0, 100);
        let prefix = text(345, 155);
        if &block[257..262] == b"ustar" && block[262] == 0 && !prefix.is_empty() {
            name = format!("{prefix}/{name}");
        }
        let mut size = match block[124] & 0x80 {
            0 => octal(124, 12)?,
            _ => block[128..136].iter().fold(0, |size, byte| size << 8 | u64::from(*byte)),
        };
        let mut link = text(157, 100);
        if !matches!(kind, b'L' | b'K' | b'x' | b'g') {
            name = long.name.take().unwrap_or(name);
            link = long.link.take().unwrap_or(link);
            size = long.size.take().unwrap_or(size);
        }
        Ok(Found { name, link, kind, size })
    }
}

/// Puts an entry where it belongs.
fn place(directory: &Path, found: Found, content: &mut impl Read) -> Result<(), String> {
    let path = directory.join(below(&found.name)?);
    let told = |error: io::Error| error.to_string();
    if found.kind == b'5' {
        return if path.is_dir() { Ok(()) } else { fs::create_dir_all(&path).map_err(told) };
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
        fs::create_dir_all(parent).map_err(told)?;
    }
    match found.kind {
        b'0' | 0 | b'7' => {
            // What is there makes way, so that a link is replaced and not followed.
            let _ = fs::remove_file(&path);
            let mut file = File::create(&path).map_err(told)?;
            let copied = io::copy(content, &mut file).map_err(told)?;
            if copied == found.size { Ok(()) } else { Err("unexpected end of the archive".to_owned()) }
        }
        b'1' => fs::hard_link(directory.join(below(&found.link)?), &path).map_err(told),
        b'2' => link(&found.link, &path).map_err(told),
        _ => Err("neither file nor directory nor link".to_owned()),
    }
}

#[cfg(target_os = "wasi")]
#[allow(deprecated, reason = "the one way to make a link that the stable library has on WASI")]
fn link(to: &str, path: &Path) -> io::Result<()> {
    fs::soft_link(to, path)
}

#[cfg(not(target_os = "wasi"))]
fn link(to: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, path)
}

/// A name that leads nowhere else.
fn below(name: &str) -> Result<PathBuf, String> {
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => return Err("the name leads out of the directory".to_owned()),
            _ => {}
        }
    }
    Ok(path)
}
