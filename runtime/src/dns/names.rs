//! How one Pod resolves names: what kubelet would write into its resolv.conf and hosts file.

use crate::dns::resolv_conf::ResolvConf;
use edge_api::kinds::pod::PodSpec;
use std::net::{IpAddr, SocketAddr};

/// Search domains, servers and fixed names of one Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNames {
    /// Domains tried behind short names, in order, without dots at their ends.
    pub search: Vec<String>,
    /// Names with fewer dots than this go through the search first.
    pub ndots: usize,
    /// Who is asked.
    pub servers: Servers,
    /// Names with fixed addresses, lower case: `hostAliases` and the Pod's own host name.
    pub hosts: Vec<(String, IpAddr)>,
}

/// Who answers a Pod's questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// The cluster's DNS, which forwards what it does not know.
    Cluster,
    /// The host's resolvers alone (`dnsPolicy: Default`).
    Host,
    /// Those of `dnsConfig` alone (`dnsPolicy: None`).
    Own(Vec<SocketAddr>),
}

/// Kubernetes' `ndots` of Pods with cluster DNS.
const CLUSTER_NDOTS: usize = 5;
/// Kubernetes' limits of `dnsConfig.searches`.
const MAX_SEARCH: usize = 32;

impl PodNames {
    /// `dnsPolicy: ClusterFirst` and nothing else.
    pub fn cluster_first(namespace: &str, domain: &str) -> Self {
        PodNames {
            search: vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()],
            ndots: CLUSTER_NDOTS,
            servers: Servers::Cluster,
            hosts: Vec::new(),
        }
    }

    /// What a Pod's `dnsPolicy`, `dnsConfig`, `hostAliases`, `hostname` and `subdomain` say.
    /// `pod` is its name, `ips` are its addresses, `host` is the host's resolv.conf.
    pub fn of_pod(
        spec: &PodSpec,
        pod: &str,
        namespace: &str,
        ips: &[IpAddr],
        domain: &str,
        host: &ResolvConf,
    ) -> Self {
        let mut names = Self::of_policy(spec, namespace, domain, host);
        names.apply_config(spec);
        for alias in &spec.host_aliases {
            if let Ok(ip) = alias.ip.parse() {
                let named = alias.hostnames.iter().map(|name| (name.to_ascii_lowercase(), ip));
                names.hosts.extend(named);
            }
        }
        let hostname = if spec.hostname.is_empty() { pod } else { &spec.hostname };
        for ip in ips {
            names.hosts.push((hostname.to_ascii_lowercase(), *ip));
            if !spec.subdomain.is_empty() {
                let full = format!("{hostname}.{}.{namespace}.svc.{domain}", spec.subdomain);
                names.hosts.push((full.to_ascii_lowercase(), *ip));
            }
        }
        names
    }

    fn of_policy(spec: &PodSpec, namespace: &str, domain: &str, host: &ResolvConf) -> Self {
        let of_host = || PodNames {
            search: host.search.clone(),
            ndots: host.ndots,
            servers: Servers::Host,
            hosts: Vec::new(),
        };
        match spec.dns_policy.as_str() {
            "None" => PodNames {
                search: Vec::new(),
                ndots: 1,
                servers: Servers::Own(Vec::new()),
                hosts: Vec::new(),
            },
            "Default" => of_host(),
            // With the host's network, ClusterFirst means Default.
            "ClusterFirst" | "" if spec.host_network => of_host(),
            _ => {
                let mut names = Self::cluster_first(namespace, domain);
                names.search.extend(host.search.iter().cloned());
                names
            }
        }
    }

    fn apply_config(&mut self, spec: &PodSpec) {
        let Some(config) = &spec.dns_config else { return };
        if let Servers::Own(servers) = &mut self.servers {
            let ips = config.nameservers.iter().filter_map(|server| server.parse::<IpAddr>().ok());
            servers.extend(ips.map(|ip| SocketAddr::new(ip, 53)));
        }
        for domain in &config.searches {
            let domain = domain.trim_end_matches('.').to_ascii_lowercase();
            if !domain.is_empty() && !self.search.contains(&domain) && self.search.len() < MAX_SEARCH {
                self.search.push(domain);
            }
        }
        let ndots = config.options.iter().rev().find(|option| option.name == "ndots");
        if let Some(ndots) = ndots.and_then(|option| option.value.as_deref()?.parse().ok()) {
            self.ndots = std::cmp::min(ndots, 15);
        }
    }

    /// The full names to try for what a guest wrote, in order.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        if dots >= self.ndots {
            std::iter::once(name.to_owned()).chain(searched).collect()
        } else {
            searched.chain(std::iter::once(name.to_owned())).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn names(spec: serde_json::Value) -> PodNames {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let host = ResolvConf::parse("nameserver 192.0.2.53\nsearch corp.example\n");
        let ip = "10.42.0.9".parse().unwrap();
        PodNames::of_pod(&spec, "web-0", "shop", &[ip], "cluster.local", &host)
    }

    #[test]
    fn policies_choose_servers_and_search() {
        let first = names(json!({}));
        assert_eq!(first.servers, Servers::Cluster);
        let want = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"];
        assert_eq!(first.search, want);
        let default = names(json!({"dnsPolicy": "Default"}));
        assert_eq!((default.servers, default.ndots), (Servers::Host, 1));
        assert_eq!(default.search, ["corp.example"]);
        assert_eq!(names(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirst"})).servers, Servers::Host);
        let with_host = json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"});
        assert_eq!(names(with_host).servers, Servers::Cluster);
        let own = names(json!({"dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["192.0.2.1"], "searches": ["a.example."],
            "options": [{"name": "ndots", "value": "2"}]}}));
        assert_eq!(own.servers, Servers::Own(vec!["192.0.2.1:53".parse().unwrap()]));
        assert_eq!((own.search, own.ndots), (vec!["a.example".to_owned()], 2));
    }

    #[test]
    fn aliases_and_own_names_are_fixed() {
        let names = names(json!({"hostname": "db", "subdomain": "dbs",
            "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["Foo.Local"]}]}));
        let find = |name: &str| names.hosts.iter().find(|(n, _)| n == name).map(|(_, ip)| ip.to_string());
        assert_eq!(find("foo.local").as_deref(), Some("192.0.2.9"));
        assert_eq!(find("db").as_deref(), Some("10.42.0.9"));
        assert_eq!(find("db.dbs.shop.svc.cluster.local").as_deref(), Some("10.42.0.9"));
    }

    #[test]
    fn short_names_are_searched_first_and_long_ones_last() {
        let names = PodNames::cluster_first("a", "cluster.local");
        assert_eq!(names.candidates("web")[0], "web.a.svc.cluster.local");
        assert_eq!(names.candidates("web").last().unwrap(), "web");
        assert_eq!(names.candidates("example.org."), ["example.org"]);
        assert_eq!(names.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
    }
}
