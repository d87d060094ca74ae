//! Who is asking: certificates, tokens and the users they stand for.
//!
//! Promises that a [`User`] exists only after a credential was checked. Decides nothing about what a user may do
//! (that is [`crate::registry`]) and knows no HTTP.

mod user;

pub use user::User;
