//! Acting as somebody else: the `Impersonate-*` headers, and whether the caller may.

use http::HeaderMap;

use crate::http::query::{Plus, decode};
use crate::identity::{GROUP_AUTHENTICATED, GROUP_IN_PROCESS, GROUP_UNAUTHENTICATED, User};
use crate::registry::{Access, Action, ApiError, Context, Registry};

/// The name of nobody in particular.
const ANONYMOUS: &str = "system:anonymous";
/// The group of the resources that stand for parts of a user.
const GROUP: &str = "authentication.k8s.io";
const USER: &str = "impersonate-user";
const GROUPS: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Whom the request is to be made as, if not the caller.
pub fn wished(registry: &Registry, caller: &User, headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let Some(mut user) = parse(headers)? else { return Ok(None) };
    let cx = Context::new(caller.clone());
    let may = |access: Access<'_>| {
        registry.authorise_action(&cx, &Action::Objects(Access { verb: "impersonate", ..access }))
    };
    match User::account_of(&user.name) {
        Some((namespace, name)) => {
            may(Access { resource: "serviceaccounts", namespace, name, ..Access::default() })?;
        }
        None => may(Access { resource: "users", name: &user.name, ..Access::default() })?,
    }
    for name in &user.groups {
        may(Access { resource: "groups", name, ..Access::default() })?;
    }
    for (key, values) in &user.extra {
        for name in values {
            may(Access {
                group: GROUP,
                resource: "userextras",
                subresource: key,
                name,
                ..Access::default()
            })?;
        }
    }
    if !user.uid.is_empty() {
        may(Access { group: GROUP, resource: "uids", name: &user.uid, ..Access::default() })?;
    }
    complete(&mut user);
    Ok(Some(user))
}

/// The user that the headers describe. What cannot be read is refused: dropped, it would leave the caller himself.
fn parse(headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let first = |name: &str| Ok::<_, ApiError>(texts(headers, name)?.into_iter().next().unwrap_or_default());
    let mut user =
        User { name: first(USER)?, uid: first(UID)?, groups: texts(headers, GROUPS)?, ..User::default() };
    for name in headers.keys().map(http::HeaderName::as_str) {
        if let Some(key) = name.strip_prefix(EXTRA) {
            let key = decode(key, Plus::Plus).into_owned();
            user.extra.entry(key).or_default().extend(texts(headers, name)?);
        }
    }
    if user == User::default() {
        return Ok(None);
    }
    if user.name.is_empty() {
        return Err(ApiError::bad_request("requested groups, uid or extra without impersonating a user"));
    }
    Ok(Some(user))
}

/// All values of a header.
fn texts(headers: &HeaderMap, name: &str) -> Result<Vec<String>, ApiError> {
    let text = |value: &http::HeaderValue| {
        let text = std::str::from_utf8(value.as_bytes()).map(str::to_owned);
        text.map_err(|_| ApiError::bad_request(format!("the header {name} is not UTF-8")))
    };
    headers.get_all(name).into_iter().map(text).collect()
}

/// What a user of this name has beside what was asked for.
fn complete(user: &mut User) {
    if let Some((namespace, name)) = User::account_of(&user.name)
        && user.groups.is_empty()
    {
        user.groups = User::service_account(namespace, name, "").groups;
    }
    // No header makes somebody a part of this process.
    user.groups.retain(|group| group != GROUP_IN_PROCESS);
    let group = if user.name == ANONYMOUS { GROUP_UNAUTHENTICATED } else { GROUP_AUTHENTICATED };
    if !user.is_in(GROUP_AUTHENTICATED) && !user.is_in(GROUP_UNAUTHENTICATED) {
        user.groups.push(group.to_owned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{complete, parse};

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn headers_describe_a_user() {
        assert_eq!(parse(&headers(&[("accept", "x")])).unwrap(), None);
        assert!(parse(&headers(&[("impersonate-group", "dev")])).is_err());
        let mut broken = HeaderMap::new();
        broken.insert("impersonate-user", HeaderValue::from_bytes(b"a\xff").unwrap());
        assert!(parse(&broken).is_err());
        let user = parse(&headers(&[
            ("Impersonate-User", "ann"),
            ("Impersonate-Group", "dev"),
            ("Impersonate-Group", "ops"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Extra-Acme.com%2fProject", "a"),
            ("Impersonate-Extra-Acme.com%2fProject", "b"),
        ]));
        let mut user = user.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("ann", "7"));
        assert_eq!(user.extra["acme.com/project"], ["a", "b"]);
        complete(&mut user);
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
    }

    #[test]
    fn accounts_and_nobody_have_their_groups() {
        for (name, groups) in [
            ("system:anonymous", &["system:unauthenticated"][..]),
            (
                "system:serviceaccount:n:a",
                &["system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated"],
            ),
        ] {
            let mut user = parse(&headers(&[("impersonate-user", name)])).unwrap().unwrap();
            complete(&mut user);
            assert_eq!(user.groups, groups, "{name}");
        }
        let forged =
            headers(&[("impersonate-user", "a"), ("impersonate-group", "system:edgectl:in-process")]);
        let mut user = parse(&forged).unwrap().unwrap();
        complete(&mut user);
        assert_eq!(user.groups, ["system:authenticated"]);
    }
}
