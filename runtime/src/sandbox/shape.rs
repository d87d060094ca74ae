//! What kind of program a module is, and what it may import.
//!
//! Told by inspection alone, never by name or annotation. Pure: works on names of imports and
//! exports; the linker has the last word on types.

use std::fmt;

/// The ways to run a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A core module with WASI preview 1 and a `_start`: a process that keeps its exit code.
    CoreCommand,
    /// A component exporting `wasi:cli/run` 0.2: a process.
    CliCommand,
    /// A component exporting `wasi:http/incoming-handler` 0.2: a server.
    HttpHandler,
    /// A component exporting `wasi:cli/run` 0.3.
    CliCommandP3,
    /// A component exporting `wasi:http/handler` 0.3.
    HttpHandlerP3,
}

impl Shape {
    /// Whether it is a server rather than a process.
    pub fn is_http(self) -> bool {
        matches!(self, Shape::HttpHandler | Shape::HttpHandlerP3)
    }

    /// Whether it needs WASI 0.3.
    pub fn is_p3(self) -> bool {
        matches!(self, Shape::CliCommandP3 | Shape::HttpHandlerP3)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shape::CoreCommand => "core module (WASI preview 1)",
            Shape::CliCommand => "wasi:cli/run 0.2 component",
            Shape::HttpHandler => "wasi:http/incoming-handler 0.2 component",
            Shape::CliCommandP3 => "wasi:cli/run 0.3 component",
            Shape::HttpHandlerP3 => "wasi:http/handler 0.3 component",
        })
    }
}

/// The shape of a component with these exports, or none that we know. A component that is both
/// a server and a process is a server.
pub(super) fn of_component<'a>(exports: impl Iterator<Item = &'a str> + Clone) -> Option<Shape> {
    first_of(&KNOWN, exports)
}

/// The process among these exports, whatever else there is.
pub(super) fn command_of_component<'a>(exports: impl Iterator<Item = &'a str> + Clone) -> Option<Shape> {
    first_of(&KNOWN[2..], exports)
}

/// What a component may export: servers, then processes.
const KNOWN: [(&str, &str, Shape); 4] = [
    ("wasi:http/handler", "0.3", Shape::HttpHandlerP3),
    ("wasi:http/incoming-handler", "0.2", Shape::HttpHandler),
    ("wasi:cli/run", "0.3", Shape::CliCommandP3),
    ("wasi:cli/run", "0.2", Shape::CliCommand),
];

fn first_of<'a>(
    known: &[(&str, &str, Shape)],
    exports: impl Iterator<Item = &'a str> + Clone,
) -> Option<Shape> {
    known
        .iter()
        .find(|(interface, line, _)| exports.clone().any(|name| is(name, interface, line)))
        .map(|(_, _, shape)| *shape)
}

/// Whether `name` is `interface` in a version of the line `0.2` or `0.3`, release candidates
/// excluded: their types differ from the release's.
fn is(name: &str, interface: &str, line: &str) -> bool {
    name.split_once('@').is_some_and(|(found, version)| {
        found == interface
            && version.strip_prefix(line).is_some_and(|rest| rest.starts_with('.'))
            && !version.contains('-')
    })
}

/// Interfaces offered to components of WASI 0.2, all in the line 0.2 except `wasi:config`.
const OFFERED_P2: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Interfaces offered in the line 0.3, in addition, where WASI 0.3 is on.
const OFFERED_P3: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:clocks/types",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/client",
    "wasi:http/types",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/types",
];

/// Whether a component may import `name`.
pub(super) fn is_offered(name: &str, p3: bool) -> bool {
    OFFERED_P2.iter().any(|interface| is(name, interface, "0.2"))
        || (p3 && OFFERED_P3.iter().any(|interface| is(name, interface, "0.3")))
        || name.starts_with("wasi:config/store@0.2.0-")
}

/// What is offered, for an error message.
pub(super) fn offered(p3: bool) -> String {
    let mut packages: Vec<&str> = Vec::new();
    for interface in OFFERED_P2 {
        let package = interface.split('/').next().unwrap_or(interface);
        if packages.last() != Some(&package) {
            packages.push(package);
        }
    }
    let lines = if p3 { "0.2 and 0.3" } else { "0.2" };
    format!("{} in version {lines}, and wasi:config/store", packages.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_told_by_exports() {
        let cases: &[(&[&str], Option<Shape>)] = &[
            (&["wasi:cli/run@0.2.6"], Some(Shape::CliCommand)),
            (&["wasi:cli/run@0.3.0"], Some(Shape::CliCommandP3)),
            (&["wasi:http/incoming-handler@0.2.0"], Some(Shape::HttpHandler)),
            (&["wasi:cli/run@0.2.0", "wasi:http/incoming-handler@0.2.3"], Some(Shape::HttpHandler)),
            (&["wasi:http/handler@0.3.0"], Some(Shape::HttpHandlerP3)),
            (&["wasi:http/handler@0.3.0-rc-2026-01-06"], None),
            (&["wasi:cli/run@0.20.0"], None),
            (&["run"], None),
            (&[], None),
        ];
        for (exports, shape) in cases {
            assert_eq!(of_component(exports.iter().copied()), *shape, "{exports:?}");
        }
    }

    #[test]
    fn a_server_may_have_a_command() {
        let both = ["wasi:cli/run@0.2.0", "wasi:http/incoming-handler@0.2.3"];
        assert_eq!(command_of_component(both.into_iter()), Some(Shape::CliCommand));
        assert_eq!(command_of_component(both[1..].iter().copied()), None);
    }

    #[test]
    fn imports_are_offered_by_line() {
        let cases = [
            ("wasi:cli/environment@0.2.3", false, true),
            ("wasi:http/client@0.3.0", true, true),
            ("wasi:http/client@0.3.0", false, false),
            ("wasi:nn/graph@0.2.0", true, false),
            ("wasi:config/store@0.2.0-rc.1", false, true),
            ("host", false, false),
        ];
        for (name, p3, expected) in cases {
            assert_eq!(is_offered(name, p3), expected, "{name}");
        }
        assert!(offered(false).starts_with("wasi:cli, wasi:clocks"));
    }
}
