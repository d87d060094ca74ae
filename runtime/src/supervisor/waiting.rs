//! What is said of containers that wait, in the kubelet's words: statuses and Events.
//!
//! Pure text. When a container waits, and for how long, is [`crate::supervisor::machine`]'s.

use std::time::Duration;

use edge_api::kinds::pod::Pod;

use crate::supervisor::life::{Failure, Slot};

/// The reason of a container whose image could not be pulled.
const PULL: &str = "ErrImagePull";

/// The status of one that waits to be restarted.
pub fn back_off(pod: &Pod, container: &str, delay: Duration) -> String {
    let delay = delay.as_secs();
    let delay = if delay >= 60 { format!("{}m{}s", delay / 60, delay % 60) } else { format!("{delay}s") };
    let meta = &pod.metadata;
    format!(
        "back-off {delay} restarting failed container={container} pod={}_{}({})",
        meta.name, meta.namespace, meta.uid
    )
}

/// The same for an Event, in which no number changes, so that all of them are one.
pub fn back_off_event(pod: &Pod, container: &str) -> String {
    let meta = &pod.metadata;
    let (name, namespace, uid) = (&meta.name, &meta.namespace, &meta.uid);
    format!("Back-off restarting failed container {container} in pod {name}_{namespace}({uid})")
}

/// The Event of an image that cannot be had: its reason and message.
pub fn no_image(image: &str, failure: &Failure) -> (&'static str, String) {
    let message = &failure.message;
    match failure.reason {
        PULL => ("Failed", format!("Failed to pull image {image:?}: {message}")),
        "InvalidImageName" => ("InspectFailed", message.clone()),
        reason => (reason, message.clone()),
    }
}

/// What waiting for another pull is called once one has failed again: a reason, and the message of an Event.
pub fn pull_back_off(slot: &Slot, failure: &Failure) -> Option<(&'static str, String)> {
    let backs_off = failure.reason == PULL && slot.backs_off();
    backs_off.then(|| ("ImagePullBackOff", format!("Back-off pulling image {:?}", slot.wanted)))
}

/// The status of one that has no image or could not be created: its reason and message.
pub fn failed(slot: &Slot, failure: &Failure) -> (&'static str, String) {
    match pull_back_off(slot, failure) {
        Some((reason, message)) => (reason, format!("{message}: {}: {}", failure.reason, failure.message)),
        None => (failure.reason, failure.message.clone()),
    }
}
