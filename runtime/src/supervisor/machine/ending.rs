//! How a Pod ends: patience, then force, then the end.
//!
//! First it is out of routing and its `preStop`s run, then containers are let go, main ones before sidecars, and what
//! is alive when patience ends is killed. An end that has begun can be hastened, never put off.

use std::time::Duration;

use crate::supervisor::life::{Life, Now, Role, Slot};
use crate::supervisor::machine::{
    DEFAULT_GRACE, EVICTED, EXTENSION, Effect, Ending, Machine, Phase, Stage, has_pre_stop, tell, warn,
};

impl Machine {
    pub(super) fn evicted(&mut self, why: String, now: Now, effects: &mut Vec<Effect>) {
        if matches!(self.stage, Stage::New | Stage::Preparing | Stage::Active) {
            effects.push(warn(None, EVICTED, why.clone()));
            (self.reason, self.message) = (EVICTED.to_owned(), why);
            self.end(Ending::Evicted, now, effects);
        }
    }

    /// Begins the end, or hastens it.
    pub(super) fn end(&mut self, why: Ending, now: Now, effects: &mut Vec<Effect>) {
        let by = now.mono + self.grace(why);
        match &mut self.stage {
            Stage::Released => {}
            Stage::Over(_) if why == Ending::Removed => self.release(effects),
            Stage::Over(_) => {}
            Stage::Ending { why: old, by: deadline, hooks, .. } => {
                *deadline = by.min(*deadline);
                *hooks &= why != Ending::Removed;
                if why == Ending::Removed {
                    *old = why;
                }
            }
            Stage::New | Stage::Preparing | Stage::Active => {
                let alive: Vec<usize> =
                    (0..self.slots.len()).filter(|index| self.slots[*index].is_alive()).collect();
                let hooks = by > now.mono && alive.iter().any(|index| has_pre_stop(&self.container(*index)));
                self.stage = Stage::Ending { why, by, hooks, killed: false };
                for index in alive {
                    let message = format!("Stopping container {}", self.slots[index].name);
                    effects.push(tell(Some(index), "Killing", message));
                }
                effects.push(Effect::Drain { by, hooks });
            }
        }
    }

    fn grace(&self, why: Ending) -> Duration {
        let seconds = match why {
            Ending::Shutdown(most) => {
                let own = Duration::from_secs(u64::try_from(self.own_grace()).unwrap_or(0));
                return own.min(most);
            }
            Ending::Removed | Ending::Evicted => 0,
            Ending::Deleted => self.pod.metadata.deletion_grace_period_seconds.unwrap_or(DEFAULT_GRACE),
            Ending::Deadline | Ending::Finished => self.own_grace(),
        };
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    pub(super) fn own_grace(&self) -> i64 {
        self.pod.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE)
    }

    /// The Pod is over by itself: what still runs (sidecars) is let go.
    pub(super) fn finish(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.slots.iter().any(Slot::is_alive) {
            self.end(Ending::Finished, now, effects);
        } else {
            self.conclude(effects);
        }
    }

    /// On the way to the end: patience, then force, then the end.
    pub(super) fn let_go(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for slot in &mut self.slots {
            if !slot.is_alive() && !matches!(slot.life, Life::Ended(_)) {
                slot.life = match slot.last.take() {
                    Some(last) => Life::Ended(last),
                    None => Life::Idle,
                };
            }
        }
        let Stage::Ending { by, hooks, killed, .. } = &mut self.stage else { return };
        if now.mono >= *by && *hooks {
            (*by, *hooks) = (now.mono + EXTENSION, false);
        }
        if now.mono >= *by && !*killed {
            *killed = true;
            // Those whose own `preStop` is still under way.
            let stopping = |slot: &Slot| matches!(slot.life, Life::Stopping(_));
            let late = self.slots.iter().enumerate().filter(|(_, slot)| stopping(slot));
            effects.extend(late.map(|(index, _)| Effect::Kill(index)));
        }
        if *killed {
            self.kill(effects);
        }
        if !self.slots.iter().any(Slot::is_alive) {
            self.conclude(effects);
        }
    }

    /// Main containers first; when those are gone sidecars, the last one first. What has not begun does not begin.
    fn kill(&mut self, effects: &mut Vec<Effect>) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.life == Life::Starting {
                slot.life = Life::Idle;
                effects.push(Effect::Abort(index));
            }
        }
        let mains = self.slots.iter().any(|slot| slot.role != Role::Sidecar && slot.is_alive());
        let last = self.slots.iter().rposition(|slot| slot.role == Role::Sidecar && slot.is_alive());
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.role == Role::Sidecar && (mains || Some(index) != last) {
                continue;
            }
            if let Life::Opening(run) | Life::Running(run) = &slot.life {
                slot.life = Life::Stopping(run.clone());
                effects.push(Effect::Kill(index));
            }
        }
    }

    fn conclude(&mut self, effects: &mut Vec<Effect>) {
        let why = match self.stage {
            Stage::Ending { why, .. } => Some(why),
            _ => None,
        };
        let well = self
            .slots
            .iter()
            .filter(|slot| matches!(slot.role, Role::Init | Role::Main))
            .all(|slot| slot.ended().is_some_and(|ended| ended.exit_code == 0));
        let phase = if well && self.reason.is_empty() { Phase::Succeeded } else { Phase::Failed };
        self.stage = Stage::Over(phase);
        effects.push(Effect::Remember);
        match why {
            Some(Ending::Removed) => self.release(effects),
            _ if self.deleted => effects.push(Effect::Delete),
            _ => {}
        }
    }

    fn release(&mut self, effects: &mut Vec<Effect>) {
        self.stage = Stage::Released;
        effects.push(Effect::Release);
    }
}
