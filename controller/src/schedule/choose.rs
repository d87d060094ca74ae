//! The best node for a Pod.
//!
//! Of each class one node is a candidate: the best by what is left on it that can take the Pod. It is found by going
//! down the class's tree, past every branch where too little is free or where no node is better than one found before.
//! Nodes that a rule rates apart from their class are candidates of their own. The candidates' ratings become scores
//! and the sum decides, as if every node had been looked at: the model in this folder's tests does look at every node.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mirror::{Order, Packing, Place, Standing};
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{PLUGINS, Reach, bars, check, filters, scaled, wanted};

/// The best node for a Pod, if one can take it. The one where others made room for it goes before all others.
pub fn best(ask: &Ask<'_>) -> Option<Arc<Place>> {
    if bars(ask).is_some() {
        return None;
    }
    let nominated = ask.pod.body.nominated.as_deref().and_then(|name| ask.fleet.place(name));
    if let Some(place) = nominated.filter(|place| check(ask, place).is_none()) {
        return Some(place.clone());
    }
    best_of(ask, candidates(ask))
}

/// The nodes among which the best one is; none of them refuses the Pod.
fn candidates(ask: &Ask<'_>) -> Vec<Arc<Place>> {
    let mut apart = BTreeSet::new();
    if let Some(pinned) = &ask.pinned {
        apart.extend(pinned.iter().map(|name| Arc::from(name.as_str())));
    } else {
        PLUGINS.iter().filter_map(|plugin| plugin.score.as_ref()?.special).for_each(|of| of(ask, &mut apart));
    }
    let single = apart.iter().filter_map(|name| ask.fleet.place(name));
    let mut found: Vec<Arc<Place>> = single.filter(|place| check(ask, place).is_none()).cloned().collect();
    let search = Search { ask, apart: &apart, wanted: wanted(ask), packing: ask.fleet.packing() };
    for order in ask.fleet.classes() {
        let Some((_, any)) = order.first() else { continue };
        let may_be_pinned = ask.pinned.is_none() || any.is_named_otherwise();
        if may_be_pinned && !refuses_class(ask, any) {
            let mut best = None;
            search.descend(order, &mut best);
            found.extend(best.map(|(_, place)| place));
        }
    }
    found
}

/// Whether a rule that cannot tell the nodes of a class apart refuses one of them, and so all.
fn refuses_class(ask: &Ask<'_>, any: &Place) -> bool {
    ask.looks.set(ask.looks.get() + 1);
    let mut all = filters().filter(|(_, filter)| (filter.reach)(ask) == Reach::Class);
    all.any(|(_, filter)| (filter.refuse)(ask, any).is_some())
}

struct Search<'s, 'a> {
    ask: &'s Ask<'a>,
    /// Nodes that are candidates of their own.
    apart: &'s BTreeSet<Arc<str>>,
    wanted: [i64; 4],
    packing: Packing,
}

impl Search<'_, '_> {
    fn descend(&self, order: &Order, best: &mut Option<(Standing, Arc<Place>)>) {
        let Some(branch) = order.top() else { return };
        let short = |i: usize| self.wanted[i] > 0 && self.wanted[i] > branch.sum.most_free[i];
        if (0..4).any(short) {
            return;
        }
        let load = self.ask.pod.body.load;
        if let Some((standing, _)) = best
            && branch.sum.bound(self.packing, load) <= *standing
        {
            return;
        }
        self.descend(&branch.left, best);
        let place = &branch.value;
        let free = place.free();
        let fits = (0..4).all(|i| self.wanted[i] <= 0 || self.wanted[i] <= free[i]);
        let standing = place.standing(self.packing, load);
        if fits
            && best.as_ref().is_none_or(|(other, _)| standing > *other)
            && !self.apart.contains(&place.node.meta.name)
            && check(self.ask, place).is_none()
        {
            *best = Some((standing, place.clone()));
        }
        self.descend(&branch.right, best);
    }
}

/// The best of these nodes by all scores; of equals the one that is filled first.
pub fn best_of(ask: &Ask<'_>, places: Vec<Arc<Place>>) -> Option<Arc<Place>> {
    let mut sums = vec![0_i64; places.len()];
    if places.len() > 1 {
        for score in PLUGINS.iter().filter_map(|plugin| plugin.score.as_ref()) {
            let ratings: Vec<Option<i64>> = places.iter().map(|place| (score.rate)(ask, place)).collect();
            for (sum, points) in sums.iter_mut().zip(scaled(score.scale, &ratings)) {
                *sum += score.weight * points;
            }
        }
    }
    let (packing, load) = (ask.fleet.packing(), ask.pod.body.load);
    let ranked = sums.into_iter().zip(places);
    ranked.max_by_key(|(sum, place)| (*sum, place.standing(packing, load))).map(|(_, place)| place)
}
