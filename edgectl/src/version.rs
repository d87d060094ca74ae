//! `edgectl version`.

use crate::failure::Failure;
use crate::output;
use crate::session::{JSON, Session};

/// Prints the client's version.
pub fn client() -> Result<(), Failure> {
    output::line(&format!("Client Version: v{}", env!("CARGO_PKG_VERSION")))
}

/// Prints the versions of client and server.
pub async fn version(session: &Session) -> Result<(), Failure> {
    client()?;
    let server = session.get("/version", JSON).await?;
    output::line(&format!("Server Version: {}", server["gitVersion"].as_str().unwrap_or_default()))
}
