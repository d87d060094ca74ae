//! Server-side apply against a model in which an object is a flat map of what can be owned.
//!
//! The model knows a few fields of a Deployment, of every sort that differs: scalars, a map, a set, a list with keys
//! in a list with keys (one key with a default), an atomic list and an atomic struct.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::patch::apply::{ApplyError, Writer, apply, record};

const SCHEMA: &str = "io.k8s.api.apps.v1.Deployment";
const CONTAINERS: &str = "spec.template.spec.containers";

/// What can be owned, by the path that Kubernetes prints; an item of a list is a place of its own, beside its fields.
type Places = BTreeMap<String, Value>;
/// Operation and name.
type Owner = (&'static str, String);

#[derive(Clone, Default)]
struct Model {
    live: Option<Places>,
    owners: BTreeMap<Owner, BTreeSet<String>>,
}

impl Model {
    /// What others own of what would change, if that is not forced.
    fn apply(&mut self, name: &str, config: Places, force: bool) -> Result<(), BTreeSet<(Owner, String)>> {
        let before = self.clone();
        let live = self.live.clone().unwrap_or_default();
        if self.owners.is_empty() && !live.is_empty() {
            let owner = ("Update", "before-first-apply".to_owned());
            self.owners.insert(owner, live.keys().cloned().collect());
        }
        let last = self.owners.remove(&("Apply", name.to_owned())).unwrap_or_default();
        let kept = |place: &String| {
            config.contains_key(place) || self.owners.values().any(|places| places.contains(place))
        };
        let gone: Vec<&String> = last.iter().filter(|place| !kept(place)).collect();
        let mut after = live.clone();
        after.retain(|place, _| !gone.iter().any(|gone| lies_in(place, gone)));
        after.extend(config.clone());
        let changed = self.settle(&live, &after);
        if !changed.is_empty() && !force {
            *self = before;
            return Err(changed);
        }
        self.owners.insert(("Apply", name.to_owned()), config.into_keys().collect());
        self.finish(after);
        Ok(())
    }

    fn update(&mut self, name: &str, after: Places) {
        let me = ("Update", name.to_owned());
        let live = self.live.clone().unwrap_or_default();
        let mut mine = self.owners.remove(&me).unwrap_or_default();
        self.settle(&live, &after);
        mine.retain(|place| after.contains_key(place));
        mine.extend(differing(&live, &after));
        self.owners.insert(me, mine);
        self.finish(after);
    }

    /// Takes from all owners what changes or goes; answers what they lost by change.
    fn settle(&mut self, live: &Places, after: &Places) -> BTreeSet<(Owner, String)> {
        let changed = differing(live, after);
        let mut lost = BTreeSet::new();
        for (owner, places) in &mut self.owners {
            lost.extend(places.intersection(&changed).map(|place| (owner.clone(), place.clone())));
            places.retain(|place| !changed.contains(place) && after.contains_key(place));
        }
        lost
    }

    fn finish(&mut self, after: Places) {
        self.owners.retain(|_, places| !places.is_empty());
        self.live = Some(after);
    }
}

/// Whether a place is another, or a field of the item that the other is.
fn lies_in(place: &str, other: &str) -> bool {
    place == other || other.ends_with(']') && place.starts_with(&format!("{other}."))
}

fn differing(live: &Places, after: &Places) -> BTreeSet<String> {
    after.iter().filter(|(place, value)| live.get(*place) != Some(value)).map(|(p, _)| p.clone()).collect()
}

fn places(object: &Value) -> Places {
    let mut out = Places::new();
    take(object, "spec", &["replicas", "paused", "selector"], &mut out);
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        out.insert(format!("metadata.labels.{key}"), value.clone());
    }
    for item in list(&object["metadata"], "finalizers") {
        out.insert(format!("metadata.finalizers[={item}]"), item.clone());
    }
    for container in list(&object["spec"]["template"]["spec"], "containers") {
        let at = format!("{CONTAINERS}[name={}]", container["name"]);
        out.insert(at.clone(), Value::Null);
        take_of(container, &at, &["name", "image", "args"], &mut out);
        for port in list(container, "ports") {
            let protocol = port.get("protocol").cloned().unwrap_or_else(|| json!("TCP"));
            let at = format!("{at}.ports[containerPort={},protocol={protocol}]", port["containerPort"]);
            out.insert(at.clone(), Value::Null);
            take_of(port, &at, &["containerPort", "protocol", "name"], &mut out);
        }
    }
    out
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn take(object: &Value, part: &str, names: &[&str], out: &mut Places) {
    take_of(&object[part], part, names, out);
}

fn take_of(value: &Value, at: &str, names: &[&str], out: &mut Places) {
    for name in names {
        if let Some(value) = value.get(name) {
            out.insert(format!("{at}.{name}"), value.clone());
        }
    }
}

/// The places that `managedFields` gives to each owner.
fn owners(object: &Value) -> BTreeMap<Owner, BTreeSet<String>> {
    let mut owners = BTreeMap::new();
    for entry in list(&object["metadata"], "managedFields") {
        let operation = if entry["operation"] == "Apply" { "Apply" } else { "Update" };
        let mut places = BTreeSet::new();
        owned(&entry["fieldsV1"], "", &mut places);
        let twice = owners.insert((operation, entry["manager"].as_str().unwrap().to_owned()), places);
        assert!(twice.is_none(), "an owner has one entry");
    }
    owners
}

fn owned(fields: &Value, prefix: &str, out: &mut BTreeSet<String>) {
    for (element, below) in fields.as_object().unwrap() {
        if element == "." {
            // Structs and maps may be owned beside what is in them; the model does not tell.
            out.extend(prefix.ends_with(']').then(|| prefix.to_owned()));
            continue;
        }
        let at = match element.split_at(2) {
            ("f:", name) if prefix.is_empty() => name.to_owned(),
            ("f:", name) => format!("{prefix}.{name}"),
            ("v:", value) => format!("{prefix}[={value}]"),
            (_, keys) => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap();
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{prefix}[{}]", keys.join(","))
            }
        };
        if below.as_object().is_some_and(Map::is_empty) {
            out.insert(at);
        } else {
            owned(below, &at, out);
        }
    }
}

/// The parts of an object that are chosen independently.
type Parts = BTreeMap<&'static str, Value>;
/// What makes a part.
type Make = fn(&mut Rng) -> Value;

fn random_parts(rng: &mut Rng) -> Parts {
    let mut parts = Parts::new();
    let all: [(&'static str, Make); 6] = [
        ("replicas", |rng| json!(rng.u8(1..3))),
        ("paused", |rng| json!(rng.bool())),
        ("selector", |rng| json!({"matchLabels": {"a": rng.choice(["1", "2"])}})),
        ("labels", |rng| some(rng, &["a", "b", "c"]).into_iter().map(|k| (k, word(rng))).collect()),
        ("finalizers", |rng| some(rng, &["x", "y", "z"]).into_iter().map(Value::from).collect()),
        ("containers", |rng| some(rng, &["a", "b", "c"]).into_iter().map(|n| container(rng, n)).collect()),
    ];
    for (name, make) in all {
        if rng.bool() {
            parts.insert(name, make(rng));
        }
    }
    parts
}

fn container(rng: &mut Rng, name: &str) -> Value {
    let mut container = json!({"name": name});
    if rng.bool() {
        container["image"] = word(rng);
    }
    if rng.u8(0..3) == 0 {
        container["args"] = json!([word(rng), "x"]);
    }
    let ports = [
        json!({"containerPort": 80}),
        json!({"containerPort": 80, "protocol": "UDP"}),
        json!({"containerPort": 90}),
    ];
    let mut chosen: Vec<Value> = ports.into_iter().filter(|_| rng.u8(0..3) == 0).collect();
    for port in &mut chosen {
        if port.get("protocol").is_none() && rng.bool() {
            port["protocol"] = json!("TCP");
        }
        if rng.bool() {
            port["name"] = word(rng);
        }
    }
    rng.shuffle(&mut chosen);
    if !chosen.is_empty() {
        container["ports"] = chosen.into();
    }
    container
}

fn word(rng: &mut Rng) -> Value {
    json!(rng.choice(["1", "2"]))
}

/// At least one of them, in any order.
fn some<'a>(rng: &mut Rng, of: &[&'a str]) -> Vec<&'a str> {
    let mut all = of.to_vec();
    rng.shuffle(&mut all);
    all.truncate(rng.usize(1..=of.len()));
    all
}

fn object(parts: &Parts) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
    for (name, value) in parts {
        match *name {
            "labels" | "finalizers" => object["metadata"][name] = value.clone(),
            "containers" => object["spec"]["template"]["spec"]["containers"] = value.clone(),
            _ => object["spec"][name] = value.clone(),
        }
    }
    object
}

fn parts_of(object: &Value) -> Parts {
    let mut parts = Parts::new();
    for name in ["labels", "finalizers"] {
        parts.extend(object["metadata"].get(name).map(|value| (name, value.clone())));
    }
    for name in ["replicas", "paused", "selector"] {
        parts.extend(object["spec"].get(name).map(|value| (name, value.clone())));
    }
    let containers = object.pointer("/spec/template/spec/containers");
    parts.extend(containers.map(|value| ("containers", value.clone())));
    parts
}

/// Names in the order of a list.
fn order(object: &Value) -> Vec<&Value> {
    list(&object["spec"]["template"]["spec"], "containers").iter().map(|item| &item["name"]).collect()
}

struct Run {
    rng: Rng,
    model: Model,
    live: Option<Value>,
    /// Applies that went through, applies that conflicted, updates.
    met: [usize; 3],
}

impl Run {
    fn step(&mut self, time: usize) {
        let name = *self.rng.choice(&["one", "two", "three"]).unwrap();
        let now = format!("2026-11-24T{:02}:{:02}:00Z", time / 60, time % 60);
        let writer = Writer {
            manager: name,
            subresource: "",
            api_version: "apps/v1",
            now: &now,
            ignored: &["status"],
        };
        let parts = random_parts(&mut self.rng);
        if self.rng.u8(0..4) == 0 {
            self.update(&writer, parts);
        } else {
            self.apply(&writer, &object(&parts));
        }
        let live = self.live.as_ref().unwrap();
        assert_eq!(Some(places(live)), self.model.live);
        assert_eq!(owners(live), self.model.owners, "{live}");
    }

    fn apply(&mut self, writer: &Writer<'_>, config: &Value) {
        let force = self.rng.u8(0..4) == 0 || self.live.is_none();
        let expected = self.model.apply(writer.manager, places(config), force);
        let found = apply(self.live.as_ref(), config, SCHEMA, writer, force);
        match (found, expected) {
            (Ok(object), Ok(())) => {
                let wanted = order(config);
                let given: Vec<&Value> =
                    order(&object).into_iter().filter(|name| wanted.contains(name)).collect();
                assert_eq!(given, wanted, "the configuration's order");
                let again = apply(Some(&object), config, SCHEMA, writer, false).unwrap();
                assert_eq!(again, object, "applying again changes nothing");
                self.live = Some(object);
                self.met[0] += 1;
            }
            (Err(ApplyError::Conflicts(conflicts)), Err(expected)) => {
                let owner = |printed: &str| {
                    let operation = if printed.contains(" using ") { "Update" } else { "Apply" };
                    (operation, printed.split('"').nth(1).unwrap().to_owned())
                };
                let told = conflicts
                    .iter()
                    .map(|conflict| (owner(&conflict.manager), conflict.field[1..].to_owned()));
                assert_eq!(told.collect::<BTreeSet<_>>(), expected);
                self.met[1] += 1;
            }
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    /// An update changes some parts; it sends the owners back, or leaves them out.
    fn update(&mut self, writer: &Writer<'_>, random: Parts) {
        let mut parts = self.live.as_ref().map(parts_of).unwrap_or_default();
        for name in ["replicas", "paused", "selector", "labels", "finalizers", "containers"] {
            if self.rng.u8(0..3) == 0 {
                parts.remove(name);
                parts.extend(random.get(name).map(|value| (name, value.clone())));
            }
        }
        let mut new = object(&parts);
        let sent = self.live.as_ref().and_then(|live| live["metadata"].get("managedFields"));
        if let (true, Some(sent)) = (self.rng.bool(), sent) {
            new["metadata"]["managedFields"] = sent.clone();
        }
        record(self.live.as_ref(), &mut new, SCHEMA, writer).unwrap();
        self.model.update(writer.manager, places(&new));
        self.live = Some(new);
        self.met[2] += 1;
    }
}

#[test]
fn owners_conflicts_and_results_are_the_models() {
    let mut met = [0; 3];
    for seed in 0..120 {
        let mut run = Run { rng: Rng::with_seed(seed), model: Model::default(), live: None, met: [0; 3] };
        for time in 0..40 {
            run.step(time);
        }
        met = std::array::from_fn(|at| met[at] + run.met[at]);
    }
    assert!(met.iter().all(|count| *count > 600), "all ways are met: {met:?}");
}
