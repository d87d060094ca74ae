//! What Service and Ingress share: the addresses of a load balancer.

use crate::compact::object;
use crate::meta;
use serde_json::Value;

object! {
    /// Addresses of a load balancer.
    struct LoadBalancerStatus {
        /// The addresses.
        ingress: Vec<LoadBalancerIngress>,
    }

    /// An address of a load balancer.
    struct LoadBalancerIngress {
        /// The address.
        ip: String,
        /// Or its name.
        hostname: String,
    }
}

/// The addresses in `status.loadBalancer`.
pub(super) fn addresses(object: &Value) -> String {
    let addresses = meta::items(object, &["status", "loadBalancer", "ingress"]).iter();
    let mut shown: Vec<&str> = addresses
        .map(|one| match meta::text(one, &["ip"]) {
            "" => meta::text(one, &["hostname"]),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    shown.sort_unstable();
    shown.dedup();
    shown.join(",")
}
