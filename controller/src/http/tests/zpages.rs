//! Pages for people, and a URL that nobody should send.

use super::harness::Api;
use crate::identity::User;

#[tokio::test]
async fn since_when_it_runs_and_with_which_settings() {
    let api = Api::new().await;
    api.server
        .zpages()
        .show(vec![("pod-range", "10.42.0.0/16".to_owned()), ("api-address", "a:1".to_owned())]);
    let text = |answer: super::harness::Answer| String::from_utf8(answer.bytes.to_vec()).unwrap();
    let status = api.get("/statusz").await;
    assert_eq!(
        (status.code, status.headers["content-type"].to_str().unwrap()),
        (200, "text/plain; charset=utf-8")
    );
    let status = text(status);
    assert!(status.starts_with("\nkube-apiserver statusz\nWarning: This endpoint is not meant"), "{status}");
    assert!(status.contains("\nStarted: Fri Jan 15 08:00:00 UTC 2027\nUp: 0 hr 00 min 00 sec\n"), "{status}");
    let flags = text(api.get("/flagz").await);
    assert!(flags.ends_with("\n\napi-address=a:1\npod-range=10.42.0.0/16\n"), "{flags}");
    let ann = api.client(User { name: "ann".into(), ..User::default() }).await;
    assert_eq!(ann.get("/statusz", &[]).await.code, 403);
}

#[tokio::test]
async fn a_url_that_is_too_long_is_told_so() {
    let api = Api::new().await;
    let answer = api.get(&format!("/api/v1/pods?labelSelector={}", "a".repeat(61_500))).await;
    let status = answer.expect(414);
    assert_eq!((&status["kind"], &status["reason"]), (&"Status".into(), &"RequestURITooLong".into()));
    assert_eq!(status["message"], "the URL has 61527 bytes; the limit is 61440");
}
