"""What a program with the official Python client does: create, patch in three ways, watch across a restart.

It speaks with the test line by line: it prints what it has done, and reads a line before it goes on after the restart.
"""
import sys

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException


def say(*words):
    print(*words, flush=True)


def refused(status, reason, call):
    try:
        call()
    except ApiException as error:
        assert error.status == status, (error.status, error.body)
        assert reason in error.body, error.body
    else:
        raise AssertionError(f"{reason} was expected")


config.load_kube_config(sys.argv[1])
core, apps = client.CoreV1Api(), client.AppsV1Api()

made = core.create_namespaced_config_map(
    "default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="p", labels={"app": "py"}), data={"a": "1"})
)
assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo is not None
refused(409, "AlreadyExists", lambda: core.create_namespaced_config_map("default", made.__class__(metadata={"name": "p"})))
refused(404, "NotFound", lambda: core.read_namespaced_config_map("none", "default"))
refused(422, "Invalid", lambda: core.create_namespaced_config_map("default", {"metadata": {"name": "No_Name"}}))

# A dictionary is a strategic merge patch, a list a JSON patch; the third kind is asked for.
patched = core.patch_namespaced_config_map("p", "default", {"data": {"b": "2"}})
assert patched.data == {"a": "1", "b": "2"}, patched.data
patched = core.patch_namespaced_config_map("p", "default", [{"op": "remove", "path": "/data/a"}])
assert patched.data == {"b": "2"}, patched.data
patched = core.patch_namespaced_config_map(
    "p", "default", {"data": {"b": None, "c": "3"}}, _content_type="application/merge-patch+json"
)
assert patched.data == {"c": "3"}, patched.data
applied = core.patch_namespaced_config_map(
    "p",
    "default",
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "p"}, "data": {"d": "4"}},
    field_manager="py",
    _content_type="application/apply-patch+yaml",
)
assert applied.data == {"c": "3", "d": "4"}, applied.data
stale = core.read_namespaced_config_map("p", "default")
stale.metadata.resource_version = "1"
refused(409, "Conflict", lambda: core.replace_namespaced_config_map("p", "default", stale))

container = client.V1Container(name="main", image="file:a.wasm", ports=[client.V1ContainerPort(container_port=80)])
template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels={"app": "py"}), spec=client.V1PodSpec(containers=[container])
)
spec = client.V1DeploymentSpec(selector=client.V1LabelSelector(match_labels={"app": "py"}), template=template)
apps.create_namespaced_deployment("default", client.V1Deployment(metadata=client.V1ObjectMeta(name="d"), spec=spec))
scale = apps.patch_namespaced_deployment_scale("d", "default", {"spec": {"replicas": 3}})
assert scale.spec.replicas == 3
merged = apps.patch_namespaced_deployment(
    "d", "default", {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "file:b.wasm"}]}}}}
)
assert {c.name for c in merged.spec.template.spec.containers} == {"main", "side"}

for i in range(5):
    core.create_namespaced_config_map("default", {"metadata": {"name": f"page-{i}", "labels": {"page": "1"}}})
first = core.list_namespaced_config_map("default", label_selector="page=1", limit=2)
rest = core.list_namespaced_config_map("default", label_selector="page=1", _continue=first.metadata._continue)
assert len(first.items) == 2 and len(rest.items) == 3

seen = core.list_namespaced_config_map("default", label_selector="app=py")
version = seen.metadata.resource_version
say("listed", version)
for event in watch.Watch().stream(
    core.list_namespaced_config_map, "default", label_selector="app=py", resource_version=version, timeout_seconds=60
):
    say(event["type"], event["object"].metadata.name)
    version = event["object"].metadata.resource_version
    if event["type"] == "ADDED":
        break
say("stopping at", version)
sys.stdin.readline()

# The server has been restarted at another address; the watch goes on where it was.
config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
for event in watch.Watch().stream(
    core.list_namespaced_config_map, "default", label_selector="app=py", resource_version=version, timeout_seconds=60
):
    say(event["type"], event["object"].metadata.name)
    if event["type"] == "DELETED":
        break
core.delete_collection_namespaced_config_map("default", label_selector="page=1")
assert not core.list_namespaced_config_map("default", label_selector="page=1").items
say("done")
