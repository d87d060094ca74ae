//! connect: what leads to a Pod or a Node rather than to an object.

use serde_json::Value;

use crate::registry::admit::Request;
use crate::registry::{ApiError, Context, Registry, Target};

impl Registry {
    /// Refuses a connection to a subresource, such as `proxy`, that the caller may not have or that admission refuses.
    /// `options` are those of the subresource, as an object.
    pub async fn connect(&self, cx: &Context, target: &Target<'_>, options: Value) -> Result<(), ApiError> {
        self.authorise(cx, "get", target, target.name)?;
        let request = Request::connect(self, cx, target);
        request.mutate(&mut options.clone()).await?;
        request.validate(&options).await
    }
}
