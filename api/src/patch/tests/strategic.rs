//! Strategic merge patch against a model: what a patch means, said before it is written down with its directives.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::patch::strategic;

const SCHEMA: &str = "io.k8s.api.apps.v1.Deployment";
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Some fields of a Deployment: one of every sort that strategic merge patch treats differently.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    replicas: Option<u8>,
    /// A map.
    labels: BTreeMap<String, String>,
    /// A list of scalars that merges.
    finalizers: Vec<String>,
    /// A struct with `$retainKeys`.
    strategy: BTreeMap<String, Value>,
    /// A list that merges by key.
    containers: Vec<(String, Container)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Container {
    image: Option<String>,
    /// A list that is replaced.
    args: Option<Vec<String>>,
    /// A list that merges by key, in one.
    env: Vec<(String, String)>,
}

/// What is to become of a field.
type Wish<T> = Option<Option<T>>;

/// What a patch means.
#[derive(Debug, Default)]
struct Change {
    replicas: Wish<u8>,
    labels: MapChange,
    add: Vec<String>,
    take: Vec<String>,
    retain: Option<BTreeMap<String, Value>>,
    replace: Option<Vec<(String, Container)>>,
    items: Vec<(String, ItemChange)>,
    order: Option<Vec<String>>,
}

#[derive(Debug, Default)]
enum MapChange {
    #[default]
    Nothing,
    Merge(BTreeMap<String, Option<String>>),
    Replace(BTreeMap<String, String>),
    Delete,
}

#[derive(Debug)]
enum ItemChange {
    Delete,
    Merge { image: Wish<String>, args: Wish<Vec<String>>, env: BTreeMap<String, Option<String>> },
}

impl Model {
    fn apply(&mut self, change: &Change) {
        set(&mut self.replicas, &change.replicas);
        match &change.labels {
            MapChange::Nothing => {}
            MapChange::Merge(changes) => changes.iter().for_each(|(key, value)| match value {
                Some(value) => drop(self.labels.insert(key.clone(), value.clone())),
                None => drop(self.labels.remove(key)),
            }),
            MapChange::Replace(labels) => self.labels = labels.clone(),
            MapChange::Delete => self.labels.clear(),
        }
        let new = change.add.iter().filter(|item| !self.finalizers.contains(item)).cloned();
        self.finalizers = self.finalizers.iter().cloned().chain(new.collect::<Vec<_>>()).collect();
        self.finalizers.retain(|item| !change.take.contains(item));
        if let Some(retained) = &change.retain {
            self.strategy.retain(|key, _| retained.contains_key(key));
            self.strategy.extend(retained.clone());
        }
        if let Some(containers) = &change.replace {
            self.containers = containers.clone();
        }
        change.items.iter().for_each(|(name, item)| self.change_item(name, item));
        if let Some(order) = &change.order {
            self.containers.sort_by_key(|(name, _)| order.iter().position(|other| other == name));
        }
    }

    fn change_item(&mut self, name: &str, item: &ItemChange) {
        let ItemChange::Merge { image, args, env } = item else {
            return self.containers.retain(|(other, _)| other != name);
        };
        let at = self.containers.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.containers.push((name.to_owned(), Container::default()));
            self.containers.len() - 1
        });
        let container = &mut self.containers[at].1;
        set(&mut container.image, image);
        set(&mut container.args, args);
        for (key, value) in env {
            container.env.retain(|(other, _)| other != key || value.is_some());
            let Some(value) = value else { continue };
            match container.env.iter_mut().find(|(other, _)| other == key) {
                Some(found) => found.1 = value.clone(),
                None => container.env.push((key.clone(), value.clone())),
            }
        }
    }

    fn json(&self) -> Value {
        let mut object = json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": {}}}});
        if let Some(replicas) = self.replicas {
            object["spec"]["replicas"] = replicas.into();
        }
        if !self.labels.is_empty() {
            object["metadata"]["labels"] = json!(self.labels);
        }
        if !self.finalizers.is_empty() {
            object["metadata"]["finalizers"] = json!(self.finalizers);
        }
        if !self.strategy.is_empty() {
            object["spec"]["strategy"] = json!(self.strategy);
        }
        if !self.containers.is_empty() {
            let containers = self.containers.iter().map(|(name, container)| container.json(name));
            object["spec"]["template"]["spec"]["containers"] = containers.collect();
        }
        object
    }

    /// Absent and empty are the same here, and order is not compared.
    fn of(object: &Value) -> Model {
        let map = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let container = |value: &Value| {
            let env = items(value, "env").iter().map(|item| (text(&item["name"]), text(&item["value"])));
            let args = value.get("args").map(|args| args.as_array().unwrap().iter().map(text).collect());
            (
                text(&value["name"]),
                Container { image: value.get("image").map(text), args, env: env.collect() },
            )
        };
        let sorted = Model {
            replicas: spec.get("replicas").map(|value| value.as_u64().unwrap() as u8),
            labels: map(&metadata["labels"]).iter().map(|(key, value)| (key.clone(), text(value))).collect(),
            finalizers: items(metadata, "finalizers").iter().map(text).collect(),
            strategy: map(&spec["strategy"]).into_iter().collect(),
            containers: items(&spec["template"]["spec"], "containers").iter().map(container).collect(),
        };
        sorted.sorted()
    }

    fn sorted(mut self) -> Model {
        self.finalizers.sort();
        self.containers.sort_by(|a, b| a.0.cmp(&b.0));
        self.containers.iter_mut().for_each(|(_, container)| container.env.sort());
        self
    }
}

impl Container {
    fn json(&self, name: &str) -> Value {
        let mut container = json!({"name": name});
        if let Some(image) = &self.image {
            container["image"] = json!(image);
        }
        if let Some(args) = &self.args {
            container["args"] = json!(args);
        }
        if !self.env.is_empty() {
            container["env"] =
                self.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        }
        container
    }
}

impl Change {
    /// The patch as it is sent.
    fn json(&self) -> Value {
        let (mut metadata, mut spec, mut pod) = (Map::new(), Map::new(), Map::new());
        wish(&mut spec, "replicas", &self.replicas);
        let labels = match &self.labels {
            MapChange::Nothing => None,
            MapChange::Merge(changes) => Some(json!(changes)),
            MapChange::Replace(labels) => {
                let mut labels = json!(labels);
                labels["$patch"] = json!("replace");
                Some(labels)
            }
            MapChange::Delete => Some(json!({"$patch": "delete"})),
        };
        metadata.extend(labels.map(|labels| ("labels".to_owned(), labels)));
        if !self.add.is_empty() {
            metadata.insert("finalizers".to_owned(), json!(self.add));
        }
        if !self.take.is_empty() {
            metadata.insert("$deleteFromPrimitiveList/finalizers".to_owned(), json!(self.take));
        }
        if let Some(retained) = &self.retain {
            let mut strategy = json!(retained);
            strategy["$retainKeys"] = retained.keys().cloned().collect();
            spec.insert("strategy".to_owned(), strategy);
        }
        if let Some(containers) = &self.replace {
            let mut list: Vec<Value> = containers.iter().map(|(name, item)| item.json(name)).collect();
            list.push(json!({"$patch": "replace"}));
            pod.insert("containers".to_owned(), list.into());
        } else if !self.items.is_empty() {
            pod.insert(
                "containers".to_owned(),
                self.items.iter().map(|(name, item)| item.json(name)).collect(),
            );
        }
        if let Some(order) = &self.order {
            let order = order.iter().map(|name| json!({"name": name})).collect();
            pod.insert("$setElementOrder/containers".to_owned(), order);
        }
        spec.insert("template".to_owned(), json!({"spec": pod}));
        json!({"metadata": metadata, "spec": spec})
    }
}

impl ItemChange {
    fn json(&self, name: &str) -> Value {
        let ItemChange::Merge { image, args, env } = self else {
            return json!({"name": name, "$patch": "delete"});
        };
        let mut fields = Map::from_iter([("name".to_owned(), json!(name))]);
        wish(&mut fields, "image", image);
        wish(&mut fields, "args", args);
        if !env.is_empty() {
            let entry = |(name, value): (&String, &Option<String>)| match value {
                Some(value) => json!({"name": name, "value": value}),
                None => json!({"name": name, "$patch": "delete"}),
            };
            fields.insert("env".to_owned(), env.iter().map(entry).collect());
        }
        Value::Object(fields)
    }
}

fn set<T: Clone>(field: &mut Option<T>, wish: &Wish<T>) {
    if let Some(wish) = wish {
        field.clone_from(wish);
    }
}

fn wish<T: serde::Serialize>(fields: &mut Map<String, Value>, name: &str, wish: &Wish<T>) {
    if let Some(wish) = wish {
        fields.insert(name.to_owned(), json!(wish));
    }
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn some(rng: &mut Rng) -> Vec<String> {
    let mut all = NAMES.map(str::to_owned).to_vec();
    rng.shuffle(&mut all);
    all.truncate(rng.usize(0..=NAMES.len()));
    all
}

fn word(rng: &mut Rng) -> String {
    rng.choice(["1", "2", "3"]).unwrap().to_owned()
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.bool().then(|| make(rng))
}

fn random_container(rng: &mut Rng) -> Container {
    let env = some(rng).into_iter().map(|name| (name, word(rng))).collect();
    Container { image: maybe(rng, word), args: maybe(rng, |rng| vec![word(rng), word(rng)]), env }
}

fn random_containers(rng: &mut Rng) -> Vec<(String, Container)> {
    some(rng).into_iter().map(|name| (name, random_container(rng))).collect()
}

fn random_strategy(rng: &mut Rng) -> BTreeMap<String, Value> {
    let kind = maybe(rng, |rng| ("type".to_owned(), json!(word(rng))));
    let update = maybe(rng, |rng| ("rollingUpdate".to_owned(), json!({"maxSurge": rng.u8(0..3)})));
    kind.into_iter().chain(update).collect()
}

fn random_model(rng: &mut Rng) -> Model {
    Model {
        replicas: maybe(rng, |rng| rng.u8(0..3)),
        labels: some(rng).into_iter().map(|key| (key, word(rng))).collect(),
        finalizers: some(rng),
        strategy: random_strategy(rng),
        containers: random_containers(rng),
    }
}

fn random_change(rng: &mut Rng, before: &Model) -> Change {
    let entries = |rng: &mut Rng| some(rng).into_iter().map(|key| (key, maybe(rng, word))).collect();
    let labels = match rng.u8(0..4) {
        0 => MapChange::Nothing,
        1 => MapChange::Replace(some(rng).into_iter().map(|key| (key, word(rng))).collect()),
        2 => MapChange::Delete,
        _ => MapChange::Merge(entries(rng)),
    };
    let mut change = Change {
        replicas: maybe(rng, |rng| maybe(rng, |rng| rng.u8(0..3))),
        labels,
        add: some(rng),
        retain: maybe(rng, |rng| retained(rng, before)),
        ..Change::default()
    };
    change.take = some(rng).into_iter().filter(|item| !change.add.contains(item)).collect();
    if rng.u8(0..5) == 0 {
        change.replace = Some(random_containers(rng));
        return change;
    }
    for name in some(rng) {
        let item = match rng.u8(0..3) {
            0 => ItemChange::Delete,
            _ => ItemChange::Merge {
                image: maybe(rng, |rng| maybe(rng, word)),
                args: maybe(rng, |rng| maybe(rng, |rng| vec![word(rng)])),
                env: entries(rng),
            },
        };
        change.items.push((name, item));
    }
    change.order = rng.bool().then(|| random_order(rng, before, &mut change.items));
    change
}

/// A struct whose nested structs are as they were, so that merging them is replacing them.
fn retained(rng: &mut Rng, before: &Model) -> BTreeMap<String, Value> {
    let mut wanted = random_strategy(rng);
    if let (Some(new), Some(old)) = (wanted.get_mut("rollingUpdate"), before.strategy.get("rollingUpdate")) {
        *new = json!({"maxSurge": new["maxSurge"].as_u64().max(old["maxSurge"].as_u64())});
    }
    wanted
}

/// A random order of what will be there; the items of the patch follow it.
fn random_order(rng: &mut Rng, before: &Model, changes: &mut [(String, ItemChange)]) -> Vec<String> {
    let mut after = before.clone();
    changes.iter().for_each(|(name, item)| after.change_item(name, item));
    let mut order: Vec<String> = after.containers.into_iter().map(|(name, _)| name).collect();
    rng.shuffle(&mut order);
    changes.sort_by_key(|(name, _)| order.iter().position(|other| other == name));
    order
}

#[test]
fn patches_do_what_the_model_does() {
    let mut rng = Rng::with_seed(21);
    for round in 0..6000 {
        let mut model = random_model(&mut rng);
        let change = random_change(&mut rng, &model);
        let (before, patch) = (model.json(), change.json());
        let mut patched = before.clone();
        strategic(&mut patched, &patch, SCHEMA).unwrap();
        model.apply(&change);
        let told = || format!("round {round}\n{before}\n{patch}\n{patched}");
        if let Some(order) = &change.order {
            let names =
                items(&patched["spec"]["template"]["spec"], "containers").iter().map(|item| &item["name"]);
            assert_eq!(names.collect::<Vec<_>>(), order.iter().collect::<Vec<_>>(), "{}", told());
        }
        assert_eq!(Model::of(&patched), model.sorted(), "{}", told());
        assert!(!patched.to_string().contains('$'), "no directive stays: {}", told());
    }
}
