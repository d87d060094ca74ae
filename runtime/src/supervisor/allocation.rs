//! How much of the node's processors and memory its Pods have been given, and whether one that runs may have more.
//!
//! A Pod has what it asked for when it came: the scheduler saw to it that there was room. What it asks for later is the
//! node's to grant: what no node of this size could give is infeasible, what others have now is deferred until they
//! leave or take less; the most important of those that wait goes first.

use std::collections::HashMap;

use edge_api::kinds::pod::{RESIZE_DEFERRED, RESIZE_INFEASIBLE, Resources};
use edge_api::quantity::Quantity;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Thousandths of a processor, and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a processor.
    pub cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
}

impl Amounts {
    /// What requests name.
    pub fn of(resources: &Resources) -> Amounts {
        let cpu = resources.get("cpu").map_or(0, Quantity::milli);
        Amounts { cpu, memory: resources.get("memory").map_or(0, Quantity::units) }
    }

    /// Both together.
    pub fn plus(self, other: Amounts) -> Amounts {
        let memory = self.memory.saturating_add(other.memory);
        Amounts { cpu: self.cpu.saturating_add(other.cpu), memory }
    }

    /// The larger of each.
    pub fn most(self, other: Amounts) -> Amounts {
        Amounts { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }

    fn named(self) -> [(&'static str, i64); 2] {
        [("cpu", self.cpu), ("memory", self.memory)]
    }
}

/// Why a Pod does not get what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `Deferred` or `Infeasible`.
    pub reason: &'static str,
    /// The same in a sentence.
    pub message: String,
}

#[derive(Debug, Default)]
struct Books {
    /// What each Pod has.
    held: HashMap<String, Amounts>,
    /// Who waits for what, and how important it is.
    deferred: HashMap<String, (i32, Amounts)>,
}

/// The books of a node.
#[derive(Debug)]
pub struct Allocation {
    capacity: Amounts,
    books: Mutex<Books>,
    changed: watch::Sender<u64>,
}

impl Allocation {
    /// A node of which Pods may have so much.
    pub fn new(allocatable: &Resources) -> Allocation {
        Allocation {
            capacity: Amounts::of(allocatable),
            books: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Rings when somebody who waits may try again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A Pod has this, whatever others have.
    pub fn hold(&self, pod: &str, amounts: Amounts) {
        let mut books = self.books.lock();
        let before = books.held.insert(pod.to_owned(), amounts);
        let waited = books.deferred.remove(pod).is_some();
        if waited || before.is_some_and(|before| before != amounts) {
            self.ring();
        }
    }

    /// Whether a Pod has anything.
    pub fn holds(&self, pod: &str) -> bool {
        self.books.lock().held.contains_key(pod)
    }

    /// A Pod has nothing any more.
    pub fn release(&self, pod: &str) {
        let mut books = self.books.lock();
        let had = books.held.remove(pod).is_some();
        if books.deferred.remove(pod).is_some() || had {
            self.ring();
        }
    }

    /// A Pod asks for this in place of what it has.
    pub fn ask(&self, pod: &str, priority: i32, wanted: Amounts) -> Result<(), Refusal> {
        for ((name, asked), (_, capacity)) in wanted.named().into_iter().zip(self.capacity.named()) {
            if asked > capacity {
                if self.books.lock().deferred.remove(pod).is_some() {
                    self.ring();
                }
                let message = format!(
                    "Node didn't have enough capacity: {name}, requested: {asked}, capacity: {capacity}"
                );
                return Err(Refusal { reason: RESIZE_INFEASIBLE, message });
            }
        }
        let mut books = self.books.lock();
        let has = books.held.get(pod).copied().unwrap_or_default();
        let short = self.short(&books, pod, wanted);
        let first = books
            .deferred
            .iter()
            .filter(|(other, (rank, _))| *other != pod && *rank > priority)
            .find(|(other, (_, amounts))| self.short(&books, other, *amounts).is_none());
        // Who asks for no more than it has is in nobody's way.
        let more = wanted.cpu > has.cpu || wanted.memory > has.memory;
        let message = match (short, first) {
            (Some(message), _) if more => message,
            (None, Some(_)) if more => "Pods of higher priority wait for the same resources".to_owned(),
            _ => {
                books.held.insert(pod.to_owned(), wanted);
                books.deferred.remove(pod);
                self.ring();
                return Ok(());
            }
        };
        books.deferred.insert(pod.to_owned(), (priority, wanted));
        Err(Refusal { reason: RESIZE_DEFERRED, message })
    }

    /// What is missing for a Pod to have this, beside what all others have.
    fn short(&self, books: &Books, pod: &str, wanted: Amounts) -> Option<String> {
        let others = books.held.iter().filter(|(other, _)| *other != pod);
        let used = others.fold(Amounts::default(), |sum, (_, amounts)| sum.plus(*amounts));
        let has = books.held.get(pod).copied().unwrap_or_default();
        let all = wanted.named().into_iter().zip(used.named()).zip(self.capacity.named()).zip(has.named());
        for ((((name, asked), (_, used)), (_, capacity)), (_, has)) in all {
            if asked > has && used.saturating_add(asked) > capacity {
                return Some(format!(
                    "Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}"
                ));
            }
        }
        None
    }

    fn ring(&self) {
        self.changed.send_modify(|changed| *changed += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(cpu: i64) -> Amounts {
        Amounts { cpu, memory: 1 << 20 }
    }

    fn node() -> Allocation {
        let quantity = |text| Quantity::parse(text).expect("a quantity");
        let resources = [("cpu".to_owned(), quantity("2")), ("memory".to_owned(), quantity("1Gi"))];
        Allocation::new(&resources.into_iter().collect())
    }

    fn refused(reason: &'static str, message: &str) -> Result<(), Refusal> {
        Err(Refusal { reason, message: message.to_owned() })
    }

    #[test]
    fn what_no_node_of_this_size_has_is_infeasible_and_what_others_have_is_deferred() {
        let node = node();
        node.hold("a", cpu(1000));
        node.hold("b", cpu(500));
        assert_eq!(node.ask("a", 0, cpu(1500)), Ok(()));
        let why = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
        assert_eq!(node.ask("a", 0, cpu(3000)), refused("Infeasible", why));
        let why = "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000";
        assert_eq!(node.ask("b", 0, cpu(600)), refused("Deferred", why));
        let memory = Amounts { cpu: 500, memory: 2 << 30 };
        let why = "Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824";
        assert_eq!(node.ask("b", 0, memory), refused("Infeasible", why));
        let changes = node.changes();
        assert_eq!(node.ask("a", 0, cpu(1000)), Ok(()), "less is always granted");
        assert!(changes.has_changed().expect("open"));
        assert_eq!(node.ask("b", 0, cpu(600)), Ok(()));
        node.release("a");
        assert_eq!(node.ask("b", 0, cpu(2000)), Ok(()));
    }

    #[test]
    fn a_node_that_is_overcommitted_still_gives_less() {
        let node = node();
        node.hold("a", cpu(1500));
        node.hold("b", cpu(1500));
        assert_eq!(node.ask("a", 0, cpu(1200)), Ok(()));
        let more_memory = Amounts { cpu: 1200, memory: 2 << 20 };
        assert_eq!(node.ask("a", 0, more_memory), Ok(()), "of what there is enough of");
    }

    #[test]
    fn the_most_important_of_those_that_wait_goes_first() {
        let node = node();
        for pod in ["low", "high", "other"] {
            node.hold(pod, cpu(600));
        }
        assert!(node.ask("low", 0, cpu(1000)).is_err());
        assert!(node.ask("high", 10, cpu(1000)).is_err());
        node.release("other");
        let why = "Pods of higher priority wait for the same resources";
        assert_eq!(node.ask("low", 0, cpu(1000)), refused("Deferred", why));
        let changes = node.changes();
        assert_eq!(node.ask("high", 10, cpu(1000)), Ok(()));
        assert!(changes.has_changed().expect("open"), "the other one may try again");
        assert_eq!(node.ask("low", 0, cpu(1000)), Ok(()));
    }
}
