//! What a Pod's volumes may say.

use crate::error::FieldError;
use crate::kinds::pod::containers;
use crate::kinds::pod::default::VOLUME_SOURCES;
use crate::kinds::{foreign_volume, persistent_volume_claim};
use crate::name;
use crate::validate::{self, At, Errors};

/// Checks every volume; returns their names.
pub(super) fn all<'a>(volumes: &At<'a>, errors: &mut Errors) -> Vec<&'a str> {
    let mut names = Vec::new();
    for volume in volumes.items() {
        let name = volume.get("name");
        validate::required_name(&name, name::dns1123_label, errors);
        validate::unique(&name, &mut names, errors);
        sources(&volume, errors);
    }
    names
}

fn sources(volume: &At<'_>, errors: &mut Errors) {
    let mut found = 0;
    for source in VOLUME_SOURCES.iter().map(|source| volume.get(source)).filter(At::is_set) {
        found += 1;
        if found > 1 {
            errors.push(FieldError::forbidden(&source.path, "may not specify more than 1 volume type"));
        }
    }
    if found == 0 {
        errors.push(FieldError::required(&volume.path, "must specify a volume type"));
    }
    let [config_map, secret, host_path, claim] =
        ["configMap", "secret", "hostPath", "persistentVolumeClaim"].map(|source| volume.get(source));
    if config_map.is_set() {
        validate::required(&config_map.get("name"), "", errors);
        files(&config_map, errors);
    }
    if secret.is_set() {
        validate::required(&secret.get("secretName"), "", errors);
        files(&secret, errors);
    }
    if host_path.is_set() {
        self::host_path(&host_path, errors);
    }
    if claim.is_set() {
        validate::required(&claim.get("claimName"), "", errors);
    }
    let ephemeral = volume.get("ephemeral");
    if ephemeral.is_set() {
        let template = ephemeral.get("volumeClaimTemplate");
        if validate::required(&template, "", errors) {
            persistent_volume_claim::checks(&template, errors);
        }
    }
    foreign_volume::check(volume, errors);
    let limit = volume.get("emptyDir").get("sizeLimit");
    validate::quantity(&limit, errors);
    let downward = volume.get("downwardAPI");
    mode(&downward.get("defaultMode"), errors);
    downward_items(&downward.get("items"), errors);
    projected(&volume.get("projected"), errors);
    let image = volume.get("image");
    if image.is_set() {
        validate::required(&image.get("reference"), "", errors);
        validate::optional_one_of(&image.get("pullPolicy"), containers::PULL_POLICIES, errors);
    }
}

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

fn host_path(source: &At<'_>, errors: &mut Errors) {
    let path = source.get("path");
    if validate::required(&path, "", errors) {
        validate::no_way_up(&path, errors);
    }
    validate::optional_one_of(&source.get("type"), HOST_PATH_TYPES, errors);
}

fn mode(at: &At<'_>, errors: &mut Errors) {
    if let Some(mode) = at.number()
        && !(0..=0o777).contains(&mode)
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(&at.path, mode, why));
    }
}

/// `defaultMode` and `items` of keys.
fn files(source: &At<'_>, errors: &mut Errors) {
    mode(&source.get("defaultMode"), errors);
    for item in source.get("items").items() {
        validate::required(&item.get("key"), "", errors);
        file_path(&item.get("path"), errors);
        mode(&item.get("mode"), errors);
    }
}

fn file_path(path: &At<'_>, errors: &mut Errors) {
    if validate::required(path, "", errors) {
        validate::relative_path(path, errors);
        if path.text().starts_with("..") && !path.text().starts_with("../") && path.text() != ".." {
            errors.push(FieldError::invalid(&path.path, path.text(), "must not start with '..'"));
        }
    }
}

const VOLUME_FIELDS: &[&str] =
    &["metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"];

fn downward_items(items: &At<'_>, errors: &mut Errors) {
    for item in items.items() {
        file_path(&item.get("path"), errors);
        let (field, resource) = (item.get("fieldRef"), item.get("resourceFieldRef"));
        match (field.is_set(), resource.is_set()) {
            (true, true) => {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(&item.path, "resource", why));
            }
            (true, false) => containers::field_ref(&field, VOLUME_FIELDS, errors),
            (false, true) => {
                validate::required(&resource.get("containerName"), "", errors);
                containers::resource_field_ref(&resource, errors);
            }
            (false, false) => {
                errors.push(FieldError::required(
                    &item.path,
                    "one of fieldRef and resourceFieldRef is required",
                ));
            }
        }
        mode(&item.get("mode"), errors);
    }
}

const PROJECTIONS: &[&str] =
    &["clusterTrustBundle", "configMap", "downwardAPI", "podCertificate", "secret", "serviceAccountToken"];

fn projected(projected: &At<'_>, errors: &mut Errors) {
    mode(&projected.get("defaultMode"), errors);
    for source in projected.get("sources").items() {
        let mut found = 0;
        for projection in PROJECTIONS.iter().map(|name| source.get(name)).filter(At::is_set) {
            found += 1;
            if found > 1 {
                errors.push(FieldError::forbidden(
                    &projection.path,
                    "may not specify more than 1 volume type per source",
                ));
            }
        }
        for name in ["configMap", "secret"] {
            let object = source.get(name);
            if object.is_set() {
                validate::required(&object.get("name"), "", errors);
                files(&object, errors);
            }
        }
        downward_items(&source.get("downwardAPI").get("items"), errors);
        let token = source.get("serviceAccountToken");
        if token.is_set() {
            let seconds = token.get("expirationSeconds").number().unwrap_or(3600);
            let field = token.field("expirationSeconds");
            if seconds < 600 {
                errors.push(FieldError::invalid(
                    field,
                    seconds,
                    "may not specify a duration less than 10 minutes",
                ));
            } else if seconds > 1 << 32 {
                errors.push(FieldError::invalid(
                    field,
                    seconds,
                    "may not specify a duration larger than 2^32 seconds",
                ));
            }
            file_path(&token.get("path"), errors);
        }
    }
}
