//! Who is asking: certificates, tokens and the users they stand for.
//!
//! Promises that a [`User`] exists only after a credential was checked, that what is kept on disk is private to its
//! owner, and that no token reaches a log. Decides nothing about what a user may do (that is [`crate::registry`])
//! and knows no HTTP.

mod authority;
mod der;
mod files;
mod kubeconfig;
mod pki;
mod secret;
mod service_account;
mod user;

pub mod signing;

pub use authority::{Authority, CertificateError, Pair};
pub use kubeconfig::KubeconfigError;
pub use pki::{Config, FRONT_PROXY, IdentityError, Pki};
pub use secret::Digest;
pub use service_account::{Bound, Claims, KeyError, Reference, Signer};
pub use user::{
    GROUP_AUTHENTICATED, GROUP_IN_PROCESS, GROUP_MASTERS, GROUP_NODES, GROUP_SERVICE_ACCOUNTS,
    GROUP_UNAUTHENTICATED, User,
};
