//! A few commands for looking into Pods, each as far as clients need it: `tar` as `kubectl cp` calls it, `cat`, `ls`,
//! `test`, `env`, `echo`. The node runs them in containers that are asked for one of these names; as a container of
//! its own (`kubectl debug`) it reads command lines, one a line, when it is given none.

mod tar;
mod walk;

use std::fs::{self, File};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// What went wrong, in one line.
pub type Outcome = Result<u8, String>;

const USAGE: &str = "usage: cat [FILE]… | echo [WORD]… | env | ls [-l] [-a] [PATH]… | tar cf - PATH… | \
                     tar xf - [-C DIR] | test -d|-e|-f PATH";

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().collect();
    if words.first().is_some_and(|word| !is_command(name(word))) {
        words.remove(0);
    }
    let code = if words.is_empty() { prompt() } else { told(&words) };
    ExitCode::from(code)
}

/// The last part of a command's path.
fn name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn is_command(name: &str) -> bool {
    matches!(name, "cat" | "echo" | "env" | "ls" | "tar" | "test")
}

/// Runs a command and says what went wrong.
fn told(words: &[String]) -> u8 {
    match run(words) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("{}: {problem}", name(&words[0]));
            if words[0] == "tar" { 2 } else { 1 }
        }
    }
}

fn run(words: &[String]) -> Outcome {
    let arguments = &words[1..];
    match name(&words[0]) {
        "cat" => cat(arguments),
        "echo" => say(&(arguments.join(" ") + "\n")),
        "env" => say(&std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect::<String>()),
        "ls" => ls(arguments),
        "tar" => tar::run(arguments),
        "test" => test(arguments),
        other => Err(format!("no command {other:?}; {USAGE}")),
    }
}

/// Reads command lines until there are no more.
fn prompt() -> u8 {
    let ask = || {
        if io::stdin().is_terminal() {
            print!("toolbox> ");
            let _ = io::stdout().flush();
        }
    };
    let mut code = 0;
    ask();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match words.first().map(String::as_str) {
            None => {}
            Some("exit") => return words.get(1).and_then(|code| code.parse().ok()).unwrap_or(code),
            Some("help") => println!("{USAGE}"),
            Some(_) => code = told(&words),
        }
        ask();
    }
    code
}

fn say(text: &str) -> Outcome {
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(0)
}

fn cat(files: &[String]) -> Outcome {
    let mut out = io::stdout();
    let mut copy = |from: &mut dyn io::Read, name: &str| {
        io::copy(from, &mut out).map(drop).map_err(|error| format!("{name}: {error}"))
    };
    if files.is_empty() {
        copy(&mut io::stdin(), "-")?;
    }
    for file in files {
        match file.as_str() {
            "-" => copy(&mut io::stdin(), "-")?,
            path => copy(&mut File::open(path).map_err(|error| format!("{path}: {error}"))?, path)?,
        }
    }
    Ok(0)
}

fn ls(arguments: &[String]) -> Outcome {
    let flag = |letter: char| {
        arguments.iter().any(|word| word.len() > 1 && word.starts_with('-') && word.contains(letter))
    };
    let (long, all) = (flag('l'), flag('a'));
    let mut paths: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    if paths.is_empty() {
        paths.push("/");
    }
    let mut lines = String::new();
    for path in &paths {
        let entries = walk::list(Path::new(path)).map_err(|error| format!("{path}: {error}"))?;
        if paths.len() > 1 {
            lines += &format!("{path}:\n");
        }
        for (name, found) in entries.iter().filter(|(name, _)| all || !name.starts_with('.')) {
            let kind = match found {
                found if found.is_dir() => 'd',
                found if found.is_symlink() => 'l',
                _ => '-',
            };
            lines += &if long { format!("{kind} {:>12} {name}\n", found.len()) } else { format!("{name}\n") };
        }
    }
    say(&lines)
}

fn test(arguments: &[String]) -> Outcome {
    let [flag, path] = arguments else { return Err(USAGE.to_owned()) };
    let found = fs::metadata(path).ok();
    let holds = match flag.as_str() {
        "-d" => found.is_some_and(|found| found.is_dir()),
        "-f" => found.is_some_and(|found| found.is_file()),
        "-e" => found.is_some(),
        _ => return Err(USAGE.to_owned()),
    };
    Ok(u8::from(!holds))
}
