//! Who may ask what: a token or a client certificate for everything but the two questions of a supervisor.
//!
//! In: a request and the connection it came by. Out: the request, or 401, 403. Must never: compare a token in a time that tells of it.

use super::places::Place;
use super::problem::Problem;
use crate::config::Admin;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// It showed a certificate, which the handshake has verified.
    pub certified: bool,
    /// From where it comes.
    pub address: SocketAddr,
}

/// Lets a request pass whose sender may ask it.
pub async fn check(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let known = is_known(&admin, &request);
    if let Some(place) = request.extensions().get::<Arc<Place>>().filter(|_| known) {
        place.known();
    }
    let mut response = if request.headers().contains_key(header::ORIGIN) {
        // Only browsers send it. One that holds an administrator's certificate may be led here by any page.
        Problem::new(StatusCode::FORBIDDEN, "requests of browsers are not taken").into_response()
    } else if known || is_open(&admin, request.uri().path()) {
        next.run(request).await
    } else {
        let text = "show the token (Authorization: Bearer …) or a client certificate";
        let mut response = Problem::new(StatusCode::UNAUTHORIZED, text).into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    };
    let headers = response.headers_mut();
    if !known {
        // There are few places, and strangers hold none.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_open(admin: &Admin, path: &str) -> bool {
    matches!(path, "/live" | "/ready") || (admin.open_metrics && path == "/metrics")
}

fn is_known(admin: &Admin, request: &Request) -> bool {
    let certified = admin.certificates && request.extensions().get::<Peer>().is_some_and(|peer| peer.certified);
    certified
        || admin.token.as_ref().is_some_and(|token| presented(request).is_some_and(|shown| same(shown, token.expose())))
}

/// The token of a request (RFC 6750, section 2.1).
fn presented(request: &Request) -> Option<&[u8]> {
    let value = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Digests are compared, so that not even lengths show.
fn same(shown: &[u8], token: &[u8]) -> bool {
    bool::from(Sha256::digest(shown).ct_eq(&Sha256::digest(token)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn tokens_are_taken_whole() {
        let request = |value: &str| Request::builder().header("authorization", value).body(Body::empty()).unwrap();
        assert_eq!(presented(&request("Bearer abc")), Some(&b"abc"[..]));
        assert_eq!(presented(&request("bEARER abc")), Some(&b"abc"[..]));
        assert_eq!(presented(&request("Basic abc")), None);
        assert_eq!(presented(&request("Bear")), None);
        assert!(same(b"abc", b"abc") && !same(b"ab", b"abc") && !same(b"", b"abc"));
    }
}
