//! Asks a running node something, over its admin listener.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use seawall::config::Origin;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::AdminAccess;

/// Bound on the whole exchange.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bound on the answer, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the admin listener speaks plain http; write http:// in --admin")]
    Https,
    #[error("cannot reach the admin listener at {at}: {cause}")]
    Unreachable { at: String, cause: io::Error },
    #[error("the admin listener at {0} gave no answer within {1}s")]
    Late(String, u64),
    #[error("the admin listener broke the connection: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the token cannot stand in a header field")]
    Token(#[from] http::Error),
    #[error("the admin listener wants a token: give SEAWALL_ADMIN_TOKEN or --token")]
    Unauthorized,
    #[error("the admin listener refused ({status}): {why}")]
    Refused { status: StatusCode, why: String },
    #[error("this is not the answer of an admin listener; is the address right?")]
    Strange,
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// Posts JSON to `path`; the status is any but that of a missing token.
pub(crate) fn post(
    access: &AdminAccess,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), AskError> {
    post_and_wait(access, path, body, Duration::ZERO)
}

/// The same, where the node may take so much longer to answer.
pub(crate) fn post_and_wait(
    access: &AdminAccess,
    path: &str,
    body: Vec<u8>,
    longer: Duration,
) -> Result<(StatusCode, Bytes), AskError> {
    let deadline = DEADLINE + longer;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AskError::Start)?;
    runtime.block_on(async {
        let done = timeout(deadline, send(access, path, body)).await;
        done.unwrap_or_else(|_| Err(AskError::Late(authority(&access.admin), deadline.as_secs())))
    })
}

/// The same, without a bound on time.
pub(crate) async fn send(
    access: &AdminAccess,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), AskError> {
    if access.admin.tls {
        return Err(AskError::Https);
    }
    let response = exchange(&access.admin, request(access, path, body)?).await?;
    let status = response.status();
    let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let answer = answer.map_err(|_| AskError::Strange)?.to_bytes();
    if status == StatusCode::UNAUTHORIZED {
        return Err(AskError::Unauthorized);
    }
    Ok((status, answer))
}

fn request(
    access: &AdminAccess,
    path: &str,
    body: Vec<u8>,
) -> Result<Request<Full<Bytes>>, AskError> {
    let mut request = Request::post(path)
        .header(HOST, authority(&access.admin))
        .header(CONTENT_TYPE, "application/json");
    if let Some(token) = access.token.as_deref().filter(|token| !token.is_empty()) {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    Ok(request.body(Full::from(body))?)
}

async fn exchange(
    admin: &Origin,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, AskError> {
    let connected = TcpStream::connect((admin.host.as_str(), admin.port)).await;
    let stream =
        connected.map_err(|cause| AskError::Unreachable { at: authority(admin), cause })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

fn authority(admin: &Origin) -> String {
    let Origin { host, port, .. } = admin;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The answer's text, without what could steer a terminal.
pub(crate) fn printable(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.trim().chars().filter(|letter| !letter.is_control()).take(500).collect()
}
