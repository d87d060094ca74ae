//! Amounts of what a node has and a Pod asks for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use edge_api::quantity::Quantity;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// Amounts by resource. Everything is an integer: thousandths of a CPU, bytes, pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub storage: i64,
    /// Everything else, by name.
    pub other: BTreeMap<String, i64>,
}

/// A map of quantities as it is read, which Pods are with each of their changes: nothing but what is unusual in it is
/// kept as text.
#[derive(Clone, Debug, Default)]
pub struct Quantities {
    /// The amounts; what is no quantity counts as nothing, since validation refused it before.
    pub amounts: Resources,
    has_cpu: bool,
    has_memory: bool,
}

impl<'de> Deserialize<'de> for Quantities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantities, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Quantities;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of quantities")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Quantities, A::Error> {
                let mut all = Quantities::default();
                while let Some((Text(name), Amount(quantity))) = map.next_entry()? {
                    let whole = quantity.as_ref().map_or(0, Quantity::units);
                    match &*name {
                        "cpu" => {
                            all.amounts.cpu = quantity.as_ref().map_or(0, Quantity::milli);
                            all.has_cpu = true;
                        }
                        "memory" => (all.amounts.memory, all.has_memory) = (whole, true),
                        "ephemeral-storage" => all.amounts.storage = whole,
                        _ => drop(all.amounts.other.insert(name.into_owned(), whole)),
                    }
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// A text that is kept where it was read, if it stands there as it is.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A quantity, if it is one.
struct Amount(Option<Quantity>);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        struct Any;
        impl Any {
            fn number<E>(number: Number) -> Result<Amount, E> {
                Ok(Amount(Quantity::parse(&number.to_string()).ok()))
            }
        }
        impl<'de> Visitor<'de> for Any {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity")
            }

            fn visit_str<E>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount(Quantity::parse(text).ok()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Amount, E> {
                Any::number(number.into())
            }

            fn visit_i64<E>(self, number: i64) -> Result<Amount, E> {
                Any::number(number.into())
            }

            fn visit_f64<E>(self, number: f64) -> Result<Amount, E> {
                Number::from_f64(number).map_or(Ok(Amount(None)), Any::number)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Amount, E> {
                Ok(Amount(None))
            }

            fn visit_unit<E>(self) -> Result<Amount, E> {
                Ok(Amount(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Amount, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Amount(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Amount, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Amount(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Resources {
    /// Adds another amount.
    pub fn add(&mut self, more: &Resources) {
        self.each(more, |a, b| a.saturating_add(b));
    }

    /// Takes another amount away.
    pub fn subtract(&mut self, less: &Resources) {
        self.each(less, |a, b| a.saturating_sub(b));
        self.other.retain(|_, amount| *amount != 0);
    }

    /// Raises each amount to another's where that is more.
    pub fn raise(&mut self, to: &Resources) {
        self.each(to, i64::max);
    }

    fn each(&mut self, with: &Resources, combine: fn(i64, i64) -> i64) {
        self.cpu = combine(self.cpu, with.cpu);
        self.memory = combine(self.memory, with.memory);
        self.storage = combine(self.storage, with.storage);
        for (name, amount) in &with.other {
            let mine = self.other.entry(name.clone()).or_default();
            *mine = combine(*mine, *amount);
        }
    }
}

/// What a Pod or the Pods of a node count for where nodes are compared by how full they are. A container that asks for
/// nothing counts for a little, as in Kubernetes: otherwise all of them would seem to fit anywhere equally well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
}

/// What a container without a request for CPU counts for: thousandths of a CPU.
const SMALL_CPU: i64 = 100;
/// What a container without a request for memory counts for: bytes.
const SMALL_MEMORY: i64 = 200 << 20;

/// What a Pod counts for.
pub fn load(
    containers: &[ContainerForm<'_>],
    init: &[ContainerForm<'_>],
    overhead: Option<&Quantities>,
) -> Load {
    let filled = |requests: &Quantities| Resources {
        cpu: if requests.has_cpu { requests.amounts.cpu } else { SMALL_CPU },
        memory: if requests.has_memory { requests.amounts.memory } else { SMALL_MEMORY },
        ..Resources::default()
    };
    let all = together(containers, init, overhead, filled);
    Load { cpu: all.cpu, memory: all.memory }
}

/// What is read of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerForm<'a> {
    /// Its image.
    #[serde(borrow)]
    pub image: Cow<'a, str>,
    /// Its ports.
    pub ports: Vec<PortForm>,
    /// What it asks for.
    pub resources: ResourcesForm,
    /// `Always` makes an init container a sidecar.
    #[serde(borrow)]
    pub restart_policy: Cow<'a, str>,
}

impl ContainerForm<'_> {
    /// Whether an init container goes on running beside the others.
    pub fn sidecar(&self) -> bool {
        self.restart_policy == "Always"
    }
}

/// What is read of a container's port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PortForm {
    /// Its name.
    pub name: String,
    /// Its number.
    pub container_port: i64,
    /// Its protocol.
    pub protocol: String,
    /// The node's port.
    pub host_port: i64,
    /// The node's address.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
}

/// What is read of a container's resources.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourcesForm {
    /// What the scheduler sets aside.
    pub requests: Quantities,
}

/// What a Pod needs: its containers and sidecars together, or its most demanding init container with the sidecars
/// before it, whichever is more; and the overhead.
pub fn effective(
    containers: &[ContainerForm<'_>],
    init: &[ContainerForm<'_>],
    overhead: Option<&Quantities>,
) -> Resources {
    together(containers, init, overhead, |requests| requests.amounts.clone())
}

/// The same of what each container is taken to need.
fn together(
    containers: &[ContainerForm<'_>],
    init: &[ContainerForm<'_>],
    overhead: Option<&Quantities>,
    needs: impl Fn(&Quantities) -> Resources,
) -> Resources {
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in init {
        let own = needs(&container.resources.requests);
        if container.sidecar() {
            sidecars.add(&own);
            peak.raise(&sidecars);
        } else {
            let mut now = sidecars.clone();
            now.add(&own);
            peak.raise(&now);
        }
    }
    let mut all = sidecars;
    for container in containers {
        all.add(&needs(&container.resources.requests));
    }
    all.raise(&peak);
    if let Some(overhead) = overhead {
        all.add(&overhead.amounts);
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn quantities(json: serde_json::Value) -> Quantities {
        serde_json::from_str(&json.to_string()).unwrap()
    }

    fn container(cpu: &str, restart_policy: &'static str) -> ContainerForm<'static> {
        ContainerForm {
            resources: ResourcesForm { requests: quantities(json!({"cpu": cpu})) },
            restart_policy: restart_policy.into(),
            ..ContainerForm::default()
        }
    }

    #[test]
    fn quantities_are_texts_or_numbers() {
        let all = quantities(json!({
            "cpu": "1500m", "memory": 1024, "ephemeral-storage": "1Ki", "example.com/gpu": 2, "a.b/c": 0.5,
            "x.y/none": null, "x.y/map": {"a": [1]}, "x.y/list": [{"a": 1}], "x.y/truth": true, "x.y/word": "much",
        }));
        let Resources { cpu, memory, storage, other } = all.amounts;
        assert_eq!((cpu, memory, storage), (1500, 1024, 1024));
        let amounts: Vec<_> = other.iter().filter(|(_, amount)| **amount != 0).collect();
        let gpu = "example.com/gpu".to_owned();
        assert_eq!(amounts, [(&"a.b/c".to_owned(), &1), (&gpu, &2)], "what is less than one counts as one");
        assert_eq!(other.len(), 7);
    }

    #[test]
    fn who_asks_for_nothing_counts_for_a_little() {
        let nothing = ContainerForm::default();
        assert_eq!(load(std::slice::from_ref(&nothing), &[], None), Load { cpu: 100, memory: 200 << 20 });
        let zero = container("0", "");
        assert_eq!(load(&[zero, nothing], &[], None), Load { cpu: 100, memory: 400 << 20 });
        let overhead = quantities(json!({"cpu": "1"}));
        assert_eq!(load(&[], &[], Some(&overhead)), Load { cpu: 1000, memory: 0 });
    }

    #[test]
    fn a_pod_needs_the_larger_of_init_and_main_and_sidecars_count_in_both() {
        let main = [container("100m", ""), container("0.2", "")];
        let cases: [(&[ContainerForm<'_>], i64); 4] = [
            (&[], 300),
            (&[container("1", "")], 1000),
            (&[container("50m", "Always")], 350),
            (&[container("50m", "Always"), container("400m", "")], 450),
        ];
        for (init, cpu) in cases {
            assert_eq!(effective(&main, init, None).cpu, cpu, "{init:?}");
        }
    }
}
