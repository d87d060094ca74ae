//! Volumes of systems outside the cluster: what has to be named of them, in a Pod and in a PersistentVolume.
//!
//! Nothing here mounts them. Whoever asks for one hears about a slip at once, and from the node that it has none such.

use crate::error::FieldError;
use crate::name;
use crate::validate::{self, At, Errors};

/// Fields that a source must have, in Kubernetes' order.
const NAMED: &[(&str, &[&str])] = &[
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cephfs", &["monitors"]),
    ("cinder", &["volumeID"]),
    ("csi", &["driver"]),
    ("flexVolume", &["driver"]),
    ("gcePersistentDisk", &["pdName"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("nfs", &["server", "path"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("quobyte", &["registry", "volume"]),
    ("rbd", &["monitors", "image"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("vsphereVolume", &["volumePath"]),
];

/// The longest name of a CSI driver.
const DRIVER: usize = 63;

/// Checks the foreign sources of a volume.
pub fn check(volume: &At<'_>, errors: &mut Errors) {
    for (name, fields) in NAMED {
        let source = volume.get(name);
        if !source.is_set() {
            continue;
        }
        for field in fields.iter().map(|field| source.get(field)) {
            if field.is_empty() && field.text().is_empty() {
                errors.push(FieldError::required(&field.path, ""));
            }
        }
    }
    let path = volume.get("nfs").get("path");
    if !path.text().is_empty() && !path.text().starts_with('/') {
        errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
    }
    let iscsi = volume.get("iscsi");
    validate::between(&iscsi.get("lun"), 0, 255, errors);
    let iqn = iscsi.get("iqn");
    if !iqn.text().is_empty() && !["iqn.", "eui.", "naa."].iter().any(|form| iqn.text().starts_with(form)) {
        errors.push(FieldError::invalid(&iqn.path, iqn.text(), "must be valid format"));
    }
    let driver = volume.get("csi").get("driver");
    if driver.text().len() > DRIVER {
        errors.push(FieldError::too_long(&driver.path, DRIVER));
    } else if !driver.text().is_empty()
        && let Err(why) = name::dns1123_subdomain(&driver.text().to_lowercase())
    {
        errors.push(FieldError::invalid(&driver.path, driver.text(), &why));
    }
    for disk in ["awsElasticBlockStore", "gcePersistentDisk"] {
        validate::between(&volume.get(disk).get("partition"), 0, 255, errors);
    }
}
