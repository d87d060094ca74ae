//! The host's `/etc/resolv.conf`.

use std::net::{IpAddr, SocketAddr};

/// What is read of a resolv.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers in order, port 53; at most three, as libc takes.
    pub servers: Vec<SocketAddr>,
    /// Search domains without dots at their ends.
    pub search: Vec<String>,
    /// `options ndots:n`, 1 if absent.
    pub ndots: usize,
}

impl ResolvConf {
    /// Reads the text. Lines that mean nothing to us are passed over, as libc does.
    pub fn parse(text: &str) -> Self {
        let mut conf = ResolvConf { servers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or("");
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().and_then(server)),
                Some("search") => conf.search = words.map(domain).collect(),
                Some("domain") if conf.search.is_empty() => conf.search = words.map(domain).collect(),
                Some("options") => {
                    let mut ndots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    conf.ndots = ndots.next_back().map_or(conf.ndots, |n: usize| n.min(15));
                }
                _ => {}
            }
        }
        conf.search.retain(|domain| !domain.is_empty());
        conf.servers.truncate(3);
        conf
    }
}

fn server(text: &str) -> Option<SocketAddr> {
    // A zone (`fe80::1%eth0`) cannot be carried in a plain address.
    Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53))
}

fn domain(text: &str) -> String {
    text.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_libc_reads() {
        let conf = ResolvConf::parse(
            "# comment\nnameserver 192.0.2.1\nnameserver 2001:db8::1 ; more\nnameserver nonsense\n\
             domain old.example\nsearch a.example. B.example\noptions edns0 ndots:3\n",
        );
        let servers: Vec<String> = conf.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(conf.search, ["a.example", "b.example"]);
        assert_eq!(conf.ndots, 3);
        assert_eq!(ResolvConf::parse("").ndots, 1);
    }
}
