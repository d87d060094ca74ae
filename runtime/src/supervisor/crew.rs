//! The containers of a Pod by place: init containers first, then the main ones, then the ephemeral ones.
//!
//! A place never changes, since only ephemeral containers are ever added, and those at the end. Everything that is
//! kept by container on this node is kept by place.

use std::borrow::Cow;

use edge_api::kinds::pod::{Container, EphemeralContainer, Pod};

use crate::supervisor::life::Role;

/// Every container and what it is in the Pod, in the order of their places.
pub fn of(pod: &Pod) -> impl Iterator<Item = (Cow<'_, Container>, Role)> {
    let init = pod.spec.init_containers.iter();
    let init =
        init.map(|one| (Cow::Borrowed(one), if one.is_sidecar() { Role::Sidecar } else { Role::Init }));
    let main = pod.spec.containers.iter().map(|one| (Cow::Borrowed(one), Role::Main));
    let ephemeral = pod.spec.ephemeral_containers.iter();
    init.chain(main).chain(ephemeral.map(|one| (Cow::Owned(guest(pod, one)), Role::Ephemeral)))
}

/// The container of a place.
pub fn at(pod: &Pod, index: usize) -> Option<Cow<'_, Container>> {
    of(pod).nth(index).map(|(container, _)| container)
}

/// The place of a container and the container.
pub fn named<'a>(pod: &'a Pod, name: &str) -> Option<(usize, Cow<'a, Container>)> {
    of(pod).map(|(container, _)| container).enumerate().find(|(_, container)| container.name == name)
}

/// An ephemeral container as any other. Where it names a container to look at and no volumes, it sees the volumes of
/// that one: elsewhere it would reach them through the processes that the two share.
fn guest(pod: &Pod, one: &EphemeralContainer) -> Container {
    let one = one.clone();
    let mut mounts = one.volume_mounts;
    if mounts.is_empty() && !one.target_container_name.is_empty() {
        let target = pod.spec.all_containers().find(|known| known.name == one.target_container_name);
        mounts = target.map(|target| target.volume_mounts.clone()).unwrap_or_default();
    }
    Container {
        name: one.name,
        image: one.image,
        command: one.command,
        args: one.args,
        working_dir: one.working_dir,
        env_from: one.env_from,
        env: one.env,
        volume_mounts: mounts,
        termination_message_path: one.termination_message_path,
        termination_message_policy: one.termination_message_policy,
        image_pull_policy: one.image_pull_policy,
        security_context: one.security_context,
        stdin: one.stdin,
        stdin_once: one.stdin_once,
        tty: one.tty,
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_looks_at_a_container_sees_its_volumes() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [{"name": "first"}, {"name": "beside", "restartPolicy": "Always"}],
            "containers": [{"name": "main", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "ephemeralContainers": [
                {"name": "a", "targetContainerName": "main"},
                {"name": "b", "targetContainerName": "main", "volumeMounts": [{"name": "x", "mountPath": "/x"}]},
                {"name": "c"},
            ],
        }}))
        .expect("a Pod");
        let found: Vec<_> = of(&pod)
            .map(|(one, role)| {
                let mounts: Vec<_> = one.volume_mounts.iter().map(|mount| mount.mount_path.clone()).collect();
                (one.name.clone(), role, mounts.join(","))
            })
            .collect();
        let expected = [
            ("first", Role::Init, ""),
            ("beside", Role::Sidecar, ""),
            ("main", Role::Main, "/data"),
            ("a", Role::Ephemeral, "/data"),
            ("b", Role::Ephemeral, "/x"),
            ("c", Role::Ephemeral, ""),
        ];
        assert_eq!(found, expected.map(|(name, role, mounts)| (name.to_owned(), role, mounts.to_owned())));
        assert_eq!(named(&pod, "c").map(|(index, _)| index), Some(5));
        assert!(at(&pod, 6).is_none());
    }
}
